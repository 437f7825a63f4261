"""A process forked from this one, of one thread, that makes a population and does as it is told.

It has the data, and the model wherever it is defined. It ends with the process that forked it.
"""

import ctypes
import gc
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import torch

from sweep.engine.population import Population
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


@dataclass(frozen=True)
class Forked:
    """The process, as the one that forked it sees it."""

    pid: int
    pipe: Connection

    def tell(self, what: str, *args: Any) -> None:
        """Let it call a method of its population."""
        with suppress(OSError):  # that it died is seen when it is to answer
            _say(self.pipe, (what, *args))

    def answer(self) -> Any:
        """Return what the method returned or, before that, Steps; raise what it raised.

        That is Differs or WorkerFailed.
        """
        try:
            said = pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            raise WorkerFailed("a process died") from None
        if isinstance(said, Exception):
            raise said
        return said

    def used(self) -> int:
        """Return how much of a processor it has used so far, in ticks; raise if it has died."""
        state, *numbers = _stat(self.pid)
        if state == "Z":
            raise WorkerFailed("a process died")
        return sum(map(int, numbers[10:12]))

    def end(self) -> None:
        """End it and all that it has started, whatever they do."""
        for pid in [self.pid, *_descendants(self.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.pipe.close()


def _stat(pid: int) -> list[str]:
    """Return what Linux says of a process, from its state on; see proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["Z"]


def _descendants(pid: int) -> list[int]:
    own = [int(child) for file in _children(pid) for child in file.split()]
    return own + [other for child in own for other in _descendants(child)]


def _children(pid: int) -> list[str]:
    with suppress(OSError):
        return [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    return []


def fork(make: Callable[[], Population], splits: Sequence[Split]) -> Forked:
    """Fork a process that makes a population once it is told to do something.

    Raises WorkerFailed if the system has no more processes or files.
    """
    _flush()  # or it would be written twice
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # whose handlers are the parent's
    try:
        ours, theirs = Pipe()
        parent, pid = os.getpid(), _fork()
        if not pid:
            _serve(parent, theirs, make, splits)
    except OSError as error:
        raise WorkerFailed(named_line(error)) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    theirs.close()
    return Forked(pid, ours)


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which it does not use
        return os.fork()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # of a stream that is not there
            stream.flush()


# ---- in the forked process


def _serve(
    parent: int, pipe: Connection, make: Callable[[], Population], splits: Sequence[Split]
) -> NoReturn:
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


def _answer_all(
    pipe: Connection, make: Callable[[], Population], splits: Sequence[Split]
) -> NoReturn:
    population: Population | None = None
    while True:
        what, *args = pickle.loads(pipe.recv_bytes())
        args = [splits[arg.i] if isinstance(arg, Place) else arg for arg in args]
        try:
            population = population or make()
            said = _done(population, what, args, Counter(pipe))
        except Differs as differs:
            said = differs
        except Exception as error:
            said = WorkerFailed(named_line(error))
        _flush()
        _say(pipe, said)


def _done(population: Population, what: str, args: list[Any], counter: "Counter") -> Any:
    if what != "train_epoch":
        return getattr(population, what)(*args)
    data, epoch = args
    losses = population.train_epoch(data, epoch, counter)
    counter.tell()
    return losses


class Counter:
    """Counts steps, and tells of them now and then."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe, self.n, self.next = pipe, 0.0, 0.0

    def __call__(self, n: float) -> None:
        self.n += n
        if time.monotonic() >= self.next:
            self.tell()

    def tell(self) -> None:
        _say(self.pipe, Steps(self.n))
        self.n, self.next = 0.0, time.monotonic() + OFTEN


def _say(pipe: Connection, what: Any) -> None:
    pipe.send_bytes(pickle.dumps(what))
