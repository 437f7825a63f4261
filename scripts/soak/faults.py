"""Faults for the process that calls `inject`: its n-th file or storage call."""

import errno
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from sweep.show.events import EventFile

TITLES = {
    "kill": "kill -9 before every file or storage call",
    "fail": "every file or storage call fails once",
}
AUDITED = {"open", "os.rename", "os.mkdir", "os.remove"}  # by Python itself
DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk of the test")


def inject(kind: str, n: int) -> None:
    """Let the n-th call from now on fail once, or kill this process before it."""
    folder, left = os.getcwd(), n

    def strike(error: Exception) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            Path("struck").touch()
            if kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise error

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if left > 0 and event in AUDITED and str(args[0]).startswith(f"{folder}/runs"):
            strike(DISK_FULL)

    def wrap(owner: Any, name: str, error: Exception) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            strike(error)
            return real(*args, **kwargs)

        setattr(owner, name, call)

    sys.addaudithook(hook)
    wrap(os, "fsync", DISK_FULL)
    wrap(EventFile, "_write", DISK_FULL)
    wrap(EventFile, "flush", DISK_FULL)
    broken = sqlite3.OperationalError("disk I/O error")
    wrap(DefaultDialect, "do_commit", broken)
