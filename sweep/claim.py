"""A job's claim on its folder: held while it runs, and taken from it where nobody waits for it.

The lock works wherever the folder is shared. The owner of a study takes the claims of jobs that
left no result, which waits for those still running; one that starts thereafter does nothing.
"""

import fcntl
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "claim"


class Withdrawn(BaseException):
    """The owner of the study no longer waits for this job."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a job's claim; raises Withdrawn where it was taken away."""
    with (folder / FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        check(folder)
        yield


def check(folder: Path) -> None:
    """Raise Withdrawn where a job's claim was taken away."""
    if (folder / FILE).stat().st_size:
        raise Withdrawn


def withdraw(folders: Iterable[Path]) -> None:
    """Have jobs stop at the end of their epoch, or not start at all."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a") as file:
            file.write("withdrawn")


def settle(folders: Iterable[Path]) -> None:
    """Take the claims of jobs that left no result, once those of them that run have ended."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"\nwarning: waiting for {folder}, which still runs", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write("withdrawn")
