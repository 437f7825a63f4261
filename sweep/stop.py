"""Being asked to stop, by Ctrl-C or SIGTERM, which is handled alike but for the exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import NoReturn

LINE = "\ninterrupted; run the same command to resume"
IMPATIENCE = 3.0  # seconds for which a command that ends hears no second signal
asked_by: signal.Signals | None = None  # the signal of a command that is to stop
asked_at = 0.0


@contextmanager
def signals_heard() -> Iterator[None]:
    """Let signals stop what runs inside; outside the main thread nothing can hear them."""
    global asked_by
    asked_by = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {which: signal.signal(which, _stop) for which in (signal.SIGINT, signal.SIGTERM)}
    unraisable, sys.unraisablehook = sys.unraisablehook, _pass_over_interrupts
    try:
        yield
    finally:
        asked_by = None
        sys.unraisablehook = unraisable
        for which, handler in before.items():
            signal.signal(which, handler or signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    global asked_by, asked_at
    if asked_by is None:
        asked_by, asked_at = signal.Signals(number), time.monotonic()
        raise KeyboardInterrupt  # libraries on its way would catch an exception of our own
    if time.monotonic() - asked_at > IMPATIENCE:  # it does not end: what is recorded is safe
        os._exit(128 + asked_by)


def _pass_over_interrupts(lost: "sys.UnraisableHookArgs") -> None:
    """Say nothing of an interrupt that was lost in a callback: it is raised again."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt again: a library may have lost it, or made another error of it."""
    if asked_by:
        raise KeyboardInterrupt


def quiet_start() -> None:
    """Say in one line, instead of a traceback, that imports were interrupted."""
    sys.excepthook = _print_interrupt


def _print_interrupt(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(LINE, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def leave(code: int) -> NoReturn:
    """End the process; from here on an interrupt has nothing to stop and nothing to say."""
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_DFL)
    sys.exit(code)
