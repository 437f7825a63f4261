"""One process owns a study at a time; the system frees what a dead one held."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweep.config import BadInput


@contextmanager
def owner(folder: Path) -> Iterator[None]:
    """Hold the study in a folder; raise BadInput, naming its owner, where another process does."""
    with (folder / "owner").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise BadInput(
                f"study.name={folder.name}: {file.read().strip() or 'another process'} is at it; "
                "wait for it or choose another name"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
