"""What a forked process does: make what it is to work on, and call its methods as it is told."""

import ctypes
import gc
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import torch

from sweep.errors import Differs, WorkerFailed, named_line
from sweep.workload.split import Split

OFTEN = 0.2  # seconds between two tellings of steps
STOPS = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # of Linux' prctl: the signal that a process gets when its parent ends


@dataclass(frozen=True)
class Steps:
    """So many steps more are done."""

    n: float


@dataclass(frozen=True)
class Place:
    """Stands for one of the splits that the process knows."""

    i: int


def serve(
    parent: int, pipe: Connection, make: Callable[[], Any], splits: Sequence[Split]
) -> NoReturn:
    """Make something once a method of it is asked for; end with the parent."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, which its parent hears
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        torch.set_num_threads(1)  # those of the parent are not here
        gc.freeze()  # what the parent made is its own to take down
        if os.getppid() == parent:
            _answer_all(pipe, make, splits)
    finally:
        os._exit(1)


def _answer_all(pipe: Connection, make: Callable[[], Any], splits: Sequence[Split]) -> NoReturn:
    made: Any = None
    while True:
        what, *args = pickle.loads(pipe.recv_bytes())
        args = [splits[arg.i] if isinstance(arg, Place) else arg for arg in args]
        try:
            made = made or make()
            said = _done(made, what, args, Counter(pipe))
        except Differs as differs:
            said = differs
        except Exception as error:
            said = WorkerFailed(named_line(error))
        flush_output()
        say(pipe, said)


def _done(made: Any, what: str, args: list[Any], counter: "Counter") -> Any:
    if what != "train_epoch":
        return getattr(made, what)(*args)
    losses = made.train_epoch(*args, counter)
    counter.tell()
    return losses


def flush_output() -> None:
    """Print what waits to be, so that it is neither lost nor printed twice."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # of a stream that is not there
            stream.flush()


class Counter:
    """Counts steps, and tells of them now and then."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.n, self.next = pipe, 0.0, 0.0

    def __call__(self, n: float) -> None:
        self.n += n
        if time.monotonic() >= self.next:
            self.tell()

    def tell(self) -> None:
        say(self.pipe, Steps(self.n))
        self.n, self.next = 0.0, time.monotonic() + OFTEN


def say(pipe: Connection, what: Any) -> None:
    pipe.send_bytes(pickle.dumps(what))
