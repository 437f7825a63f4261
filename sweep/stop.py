"""Being asked to stop, by Ctrl-C or SIGTERM, which is handled alike but for the exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

LINE = "\ninterrupted; run the same command to resume"
IMPATIENCE = 3.0  # seconds for which a command that ends hears no second signal
SOON = 0.05  # seconds until an interrupt is tried again
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
    before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
    unraisable, sys.unraisablehook = sys.unraisablehook, _pass_over_interrupts
    try:
        yield
    finally:
        if asked_by:
            signal.setitimer(signal.ITIMER_REAL, 0)  # nothing is tried again from here on
        asked_by = None
        sys.unraisablehook = unraisable
        for which, handler in before.items():
            signal.signal(which, handler or signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    global asked_by, asked_at
    if asked_by is None:
        asked_by, asked_at = signal.Signals(number), time.monotonic()
        _raise_outside_imports(number, frame)
    elif time.monotonic() - asked_at > IMPATIENCE:  # it does not end: what is recorded is safe
        os._exit(128 + asked_by)


def _raise_outside_imports(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not into an import: C++ that is being set up there would abort.

    Libraries on the way of an exception of our own would catch it.
    """
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            signal.signal(signal.SIGALRM, _raise_outside_imports)
            signal.setitimer(signal.ITIMER_REAL, SOON)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _pass_over_interrupts(lost: "sys.UnraisableHookArgs") -> None:
    """Say nothing of an interrupt that was lost in a callback: it is raised again."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def stop_if_asked() -> None:
    """Raise KeyboardInterrupt again: a library may have lost it, or made another error of it."""
    if asked_by:
        raise KeyboardInterrupt


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Let no library take SIGTERM for itself meanwhile: as SystemExit it would be lost."""
    real = signal.signal

    def others(which: int, handler: Any) -> Any:
        return signal.getsignal(which) if which == signal.SIGTERM else real(which, handler)

    signal.signal = others  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = real


def quiet_start() -> None:
    """Let an interrupt end the process at once, with one line, while nothing is begun yet."""
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, _leave_at_once)


def _leave_at_once(number: int, frame: FrameType | None) -> None:
    with suppress(OSError, RuntimeError, ValueError):  # of streams that nobody takes
        sys.stdout.flush()
        os.write(2, f"{LINE}\n".encode())
    os._exit(128 + number)


def leave(code: int) -> NoReturn:
    """End the process; from here on an interrupt has nothing to stop and nothing to say."""
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_DFL)
    sys.exit(code)
