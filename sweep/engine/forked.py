"""A process forked from this one, of one thread, which does as it is told.

It has the data, and the model wherever it is defined. It ends with the process that forked it.
"""

import os
import pickle
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from sweep.engine.serving import STOPS, flush_output, say, serve
from sweep.errors import WorkerDied, WorkerFailed, named_line
from sweep.workload.split import Split

CHECKED = 5.0  # seconds between two looks at processes that say nothing
IDLE_LOOKS = 3  # so many without any work: it waits for threads that did not survive the fork
T = TypeVar("T")


@dataclass(frozen=True)
class Forked:
    """The process, as the one that forked it sees it."""

    pid: int
    pipe: Connection

    def tell(self, what: str, *args: Any) -> None:
        """Let it call a method of what it has made."""
        with suppress(OSError):  # that it died is seen when it is to answer
            say(self.pipe, (what, *args))

    def answer(self) -> Any:
        """Return what the method returned or, before that, Steps; raise what it raised.

        That is Differs or WorkerFailed.
        """
        try:
            said = pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            raise WorkerDied("a process died") from None
        if isinstance(said, Exception):
            raise said
        return said

    def used(self) -> int:
        """Return how much of a processor it has used so far, in ticks; raise if it has died."""
        state, *numbers = _stat(self.pid)
        if state == "Z":
            raise WorkerDied("a process died")
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


def fork(make: Callable[[], Any], splits: Sequence[Split]) -> Forked:
    """Fork a process that makes something once it is told to call a method of it.

    Raises WorkerFailed if the system has no more processes or files.
    """
    flush_output()  # or it would be written twice
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # whose handlers are the parent's
    try:
        ours, theirs = Pipe()
        parent, pid = os.getpid(), _fork()
        if not pid:
            serve(parent, theirs, make, splits)
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


def done_apart(do: Callable[[], T]) -> T:
    """Return what a function returns in a forked process.

    Raises WorkerFailed if it fails there, or waits for threads; WorkerDied if the process ends.
    """
    process, idle = fork(lambda: do, ()), IdleLooks()
    try:
        process.tell("__call__")
        while not idle.ready([process]):
            pass
        done: T = process.answer()
        return done
    finally:
        process.end()


class IdleLooks:
    """Waits for processes, and counts in how many looks running each was seen to do nothing."""

    def __init__(self) -> None:
        self.used: dict[Forked, int] = {}
        self.idle: dict[Forked, int] = {}

    def ready(self, processes: Sequence[Forked]) -> list[Forked]:
        """Return the processes that have said something, or died, by now; none after a look.

        Raises WorkerFailed if one has done nothing for too long.
        """
        pipes = wait([process.pipe for process in processes], CHECKED)
        if not pipes:
            self._look(processes)
        return [process for process in processes if process.pipe in pipes]

    def _look(self, processes: Sequence[Forked]) -> None:
        for process in processes:
            used = process.used()
            same = used == self.used.get(process)
            self.used[process], self.idle[process] = used, same * (self.idle.get(process, 0) + 1)
            if self.idle[process] >= IDLE_LOOKS:
                raise WorkerFailed("a process waits for what is not there")
