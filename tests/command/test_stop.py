"""Signals stop a command even where the exception that a handler raises is lost."""

import os
import signal
import threading
import weakref
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweep import stop


class Thing:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_exception_that_is_lost_is_raised_again(which):
    before = signal.getsignal(which)
    with stop.signals_heard():
        stop.stop_if_asked()
        thing = Thing()
        callback = weakref.ref(thing, lambda _: (os.kill(os.getpid(), which), sum(range(1000))))
        del thing  # Python prints what is raised in a callback, and goes on
        assert callback() is None and stop.asked_by == which
        with pytest.raises(KeyboardInterrupt):
            stop.stop_if_asked()
    assert signal.getsignal(which) is before
    with stop.signals_heard():
        stop.stop_if_asked()  # a command begins unasked


def test_a_command_in_a_thread_hears_nothing_and_works():
    done = list[bool]()

    def work():
        with stop.signals_heard():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def test_training_stops_where_it_was_asked_to(sweep, monkeypatch):
    monkeypatch.setattr(stop, "asked_by", signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        sweep("dropout=0.0,0.3", "study.name=mine", "train.epochs=5")
    points = list(Path("runs/mine").glob("rate *"))
    for path in points:
        events = EventAccumulator(str(path))
        events.Reload()
        assert [point.step for point in events.Scalars("loss/val")] == [1]
    assert len(points) == 2
