"""A small study whose disk is full, whose folder is closed or gone, whose database is held."""

import ctypes
import resource
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from scripts.soak.crashes import Command, Tally, check, finish, fresh_folder, never_stopped

SIZES = (300, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 100_000, 130_000, 150_000)


def full(sizes: tuple[int, ...] = SIZES) -> Tally:
    """Let no file grow beyond a size, so that writes are cut short; then lift that."""
    tally, (whole, _) = Tally("no file may grow beyond n bytes"), never_stopped()
    for size in sizes:
        with fresh_folder() as folder:
            command = Command(folder, lambda size=size: _limit(size))  # type: ignore[misc]
            code = command.wait()
            tally.tried += 1
            told = command.acknowledged()
            check(folder, told, tally)
            _expect(code, (0, 3), folder, tally)
            finish(folder, told, whole, tally)
    return tally


def _limit(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def closed() -> Tally:
    """Run where nothing may be written; then where it may."""
    tally, (whole, _) = Tally("a folder that is read-only"), never_stopped()
    for made in (False, True):  # the folder of the studies
        with fresh_folder() as folder:
            (folder / "output").touch()
            shut = folder / "runs" if made else folder
            shut.mkdir(exist_ok=True)
            shut.chmod(0o555)
            command = Command(folder, _become_ordinary)
            tally.tried += 1
            _expect(command.wait(), (3,), folder, tally)
            shut.chmod(0o755)
            finish(folder, command.acknowledged(), whole, tally)
    return tally


def _become_ordinary() -> None:
    """Give up what lets root write anywhere."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, nothing) == 0


def gone(moments: int = 4) -> Tally:
    """Take the study's folder away while it runs; the next command makes it anew."""
    tally, (whole, seconds) = Tally("a folder that vanishes"), never_stopped()
    for moment in range(moments):
        with fresh_folder() as folder:
            command = Command(folder)
            command.wait(seconds * (moment + 1) / (moments + 1))
            shutil.rmtree(folder / "runs", ignore_errors=True)
            code = command.wait()
            tally.tried += 1
            command.acknowledged()  # which went with the folder
            _expect(code, (0, 3), folder, tally)
            shutil.rmtree(folder / "runs", ignore_errors=True)
            finish(folder, {}, whole, tally)
    return tally


def held(seconds: tuple[float, ...] = (1, 10, 70)) -> Tally:
    """Let another process hold the database for a while: the study waits for it."""
    tally, (whole, _) = Tally("a database locked by another process"), never_stopped()
    for wait in seconds:
        with fresh_folder() as folder:
            command = Command(folder)
            database = folder / "runs" / "mine" / "study.db"
            _until(lambda database=database: database.exists() and _trials(database) >= 3)  # type: ignore[misc]
            lock = sqlite3.connect(database, timeout=30, isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")
            time.sleep(wait)
            lock.execute("COMMIT")
            lock.close()
            code = command.wait()
            tally.tried += 1
            _expect(code, (0,), folder, tally)
            finish(folder, command.acknowledged(), whole, tally)
    return tally


def _trials(database: Path) -> int:
    try:
        return sqlite3.connect(database).execute("SELECT count(*) FROM trials").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def _until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not so():
        assert time.monotonic() < end
        time.sleep(0.01)


def _expect(code: int | None, codes: tuple[int, ...], folder: Path, tally: Tally) -> None:
    """Expect an exit code, and where it is 3 one line that says why."""
    output = (folder / "output").read_text()
    if code not in codes or "Traceback" in output or (code == 3 and "error: " not in output):
        tally.different += 1
        tally.notes.append(f"exit {code}: {output[-2000:]}")
