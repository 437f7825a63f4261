"""Files that are written whole or not at all, errors that name theirs, and locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

_locked: list[IO[str]] = []


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Replace a file's content in one step: readers and crashes see the old or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # others may write the same file
    try:
        with naming(path), temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in an error that does not, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise


@contextmanager
def lock(path: Path, wait: bool) -> Iterator[IO[str]]:
    """Lock a file; raise BlockingIOError if another process has, unless it is waited for.

    The lock ends with this process: what it forks, and may live on, has no part in it.
    """
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        _locked.append(file)
        try:
            yield file
        finally:
            _locked.remove(file)
            fcntl.flock(file, fcntl.LOCK_UN)  # one that is just being forked has it still


def _close_locked() -> None:
    for file in _locked:
        file.close()


os.register_at_fork(after_in_child=_close_locked)


def write_whole(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
