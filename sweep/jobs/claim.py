"""A job locks its folder while it runs; a study revokes the lock of a job it no longer waits for.

The lock works wherever the folder is shared. At its start a study revokes the locks of all jobs
without a result; it waits for those that still run, and a job that starts later does nothing.
"""

import fcntl
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweep.errors import Revoked
from sweep.files import lock

FILE = "claim"


@contextmanager
def hold_claim(folder: Path) -> Iterator[None]:
    """Hold the lock of a job's folder; raise Revoked if it was revoked."""
    with lock(folder / FILE, wait=True):
        raise_if_revoked(folder)
        yield


def raise_if_revoked(folder: Path) -> None:
    if (folder / FILE).stat().st_size:
        raise Revoked


def revoke_claims(folders: Iterable[Path]) -> None:
    """Have jobs stop at the end of their epoch, or not start at all."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a") as file:
            file.write("revoked")


def revoke_and_wait(folders: Iterable[Path]) -> None:
    """Revoke the locks of jobs, once those of the jobs that still run have ended."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"\nwarning: waiting for {folder}, which still runs", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write("revoked")
