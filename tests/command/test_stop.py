"""Signals stop a command even where the exception that a handler raises is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweep import stop
from sweep.command.exits import exit_code
from sweep.run import main
from tests.conftest import TINY, load_study


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


def lose_an_interrupt():
    """Do as some libraries do: their cleaning up fails, with another error."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))
    finally:
        raise AttributeError("'NoneType' object has no attribute 'flags'")


def test_an_interrupt_that_became_an_error_is_an_interrupt(capsys):
    assert exit_code(lose_an_interrupt) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{stop.LINE}\n")
    assert stop.asked_by is None  # what is called next in this process was not asked to stop


IMPORTED = """
import os, signal

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))

interrupt()
done = True
"""


def test_an_interrupt_waits_for_an_import_to_end(tmp_path, monkeypatch, capsys):
    (tmp_path / "slowly_imported.py").write_text(IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        import slowly_imported  # C++ that is set up in an import does not survive an exception

        seen.append(slowly_imported.done)
        time.sleep(10)
        return 0

    begin = time.monotonic()
    assert exit_code(work) == 130 and time.monotonic() - begin < 5
    assert seen == [True] and capsys.readouterr().err == f"{stop.LINE}\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_library_that_takes_sigterm_does_not_get_it(capsys):
    heard = []

    def work():
        with stop.sigterm_kept():  # as Ray does, whose handler raises SystemExit
            signal.signal(signal.SIGTERM, lambda *_: heard.append("theirs") or sys.exit(15))
            signal.signal(signal.SIGUSR1, lambda *_: heard.append("another"))
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        return 0

    real, before = signal.signal, signal.getsignal(signal.SIGUSR1)
    assert exit_code(work) == 143 and heard == ["another"]
    assert capsys.readouterr().err == f"{stop.LINE}\n" and signal.signal is real
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_start_is_one_line(which):
    program = "from sweep.stop import quiet_start; quiet_start(); import os, time; print('a'); "
    program += f"os.kill(os.getpid(), {int(which)}); time.sleep(10)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + which, "a\n", f"{stop.LINE}\n")


def test_an_interrupted_training_has_not_failed(tmp_path, monkeypatch, capsys):
    (tmp_path / "stopped.py").write_text(NET)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "stopped.yaml").write_text("_target_: stopped.Net\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.chdir(tmp_path)
    arguments = ["model=stopped", "dropout=0.0", "study.name=mine", *TINY[:3], *TINY[4:]]
    monkeypatch.setattr(sys, "argv", ["run", *arguments])
    assert main() == 130 and "run the same command to resume" in capsys.readouterr().err
    assert not load_study(tmp_path / "runs" / "mine").trials
    assert main() == 0
    assert [t.state.name for t in load_study(tmp_path / "runs" / "mine").trials] == ["COMPLETE"]


NET = """
import os
import signal
from pathlib import Path

from torch import nn


class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 16), nn.Dropout(config.dropout), nn.Linear(16, 10)
        )

    def forward(self, x):
        x = x if x.sum() > 0 else -x  # so that it trains one by one, and this is called
        asked = Path("asked")
        if list(Path("runs/mine").glob("rate *")) and not asked.exists():  # after an epoch
            asked.touch()
            try:
                os.kill(os.getpid(), signal.SIGINT)
                sum(range(1000))
            finally:
                raise RuntimeError("closed")
        return self.layers(x)
"""


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
