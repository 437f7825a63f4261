"""A study whose disk is full, whose folder is closed or gone, whose database another one holds.

Once that is over, the same command ends as if nothing had happened.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from sweep.places import CONF
from tests.conftest import TINY, values

pytestmark = pytest.mark.slow
STUDY = [*TINY[:3], "model.width=8", "train.epochs=2", "train.device=cpu", "study.name=mine"]
STUDY += ["study.n_trials=6", "study.generation=3", "study.seeds=2"]
RUN = "\nimport sys\nfrom sweep.run import main\nsys.exit(main())"
FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({}, resource.RLIM_INFINITY))
"""
ORDINARY = """
import ctypes  # gives up what lets root write anywhere
header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, nothing) == 0
"""


def start(folder, before=""):
    env = {**os.environ, "PYTHONPATH": str(CONF.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", before + RUN, *STUDY]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=pipe, stderr=pipe)


def end(process, *codes):
    """Wait for a command; it ends with one of the codes, and with 3 says why in one line."""
    _, err = process.communicate(timeout=120)
    assert process.returncode in codes and "Traceback" not in err, err
    if process.returncode == 3:
        (*_, line) = err.splitlines()
        assert line.startswith("error: ") and "a file:" not in line, err


def outcome(folder):
    answer = json.loads((folder / "runs/mine/answer.json").read_text())
    kept = [answer[key] for key in ("best", "use", "verdict", "confirmation")]
    return values(folder / "runs/mine"), kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return what a study comes to that nothing befalls."""
    folder = tmp_path_factory.mktemp("whole")
    end(start(folder), 0)
    return outcome(folder)


@pytest.fixture
def goes_on(tmp_path, whole):
    """Give the same command at the end of a test."""
    yield
    end(start(tmp_path), 0)
    assert outcome(tmp_path) == whole


@pytest.mark.parametrize("size", [300, 4000, 16_000, 64_000, 130_000])
def test_no_file_can_grow_beyond_a_size(tmp_path, goes_on, size):
    end(start(tmp_path, FULL.format(size)), 0, 3)


@pytest.mark.parametrize("there", [False, True], ids=["none yet", "runs"])
def test_a_folder_is_read_only(tmp_path, goes_on, there):
    shut = tmp_path / "runs" if there else tmp_path
    shut.mkdir(exist_ok=True)
    shut.chmod(0o555)
    end(start(tmp_path, ORDINARY), 3)
    shut.chmod(0o755)


@pytest.mark.parametrize("n", [0, 3, 6])
def test_the_folder_vanishes_after_n_trials(tmp_path, goes_on, n):
    process = start(tmp_path)
    wait_for(process, tmp_path / "runs/mine/study.db", n)
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    end(process, 0, 3)
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)


@pytest.mark.parametrize("seconds", [1, 10])
def test_another_process_holds_the_database(tmp_path, goes_on, seconds):
    process, database = start(tmp_path), tmp_path / "runs/mine/study.db"
    wait_for(process, database, 3)
    lock = sqlite3.connect(database, timeout=30, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    lock.execute("COMMIT")
    lock.close()
    end(process, 0)


def wait_for(process, database, n):
    """Wait until a study has n trials."""
    while not database.exists() or count_trials(database) < n:
        assert process.poll() is None
        time.sleep(0.01)


def count_trials(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
