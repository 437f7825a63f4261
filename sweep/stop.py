"""Being asked to stop, by Ctrl-C or SIGTERM, which is handled alike but for the exit code."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

asked_by: signal.Signals | None = None  # the signal of a command that is to stop


@contextmanager
def signals_heard() -> Iterator[None]:
    """Let signals stop what runs inside; outside the main thread nothing can hear them."""
    global asked_by
    asked_by = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {which: signal.signal(which, _stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler or signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    global asked_by
    asked_by = signal.Signals(number)
    raise KeyboardInterrupt  # libraries on its way would catch an exception of our own


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt again: one raised in a callback of a library may be lost there."""
    if asked_by:
        raise KeyboardInterrupt
