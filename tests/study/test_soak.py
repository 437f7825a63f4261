"""A tenth of what scripts/soak does to studies, and that it would see what is wrong."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.soak import crashes
from sweep.jobs import job
from sweep.places import CONF

ROOT = CONF.parent


def python(*arguments):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["kills --n 20", "calls --kind kill --every 60", "calls --kind fail --every 60"]
)
def test_nothing_is_lost(what):
    done = python("-m", "scripts.soak", "--seed", "7", *what.split())
    assert done.returncode == 0, done.stdout + done.stderr


BREAK = """
import os
os.environ["OMP_NUM_THREADS"] = "1"
from scripts.soak import crashes
from sweep.study import study
{}
tally = crashes.every_call("kill", 60, 100)
assert tally.tried >= 3
print(tally.lost, tally.running, tally.different)
"""
ASKS_ANEW = """
from optuna.samplers import RandomSampler
from sweep.study import sampler
sampler.sampler_of = lambda plan, number: RandomSampler(seed=1000 * os.getpid() + number)
"""
OTHER_SEEDS = "study.seeds_of = lambda g, n: [os.getpid() % 1000 + i for i in range(n)]"


@pytest.mark.slow
@pytest.mark.parametrize("broken", [ASKS_ANEW, OTHER_SEEDS])
def test_the_soak_sees_a_sweep_that_is_broken(broken):
    done = python("-c", BREAK.format(broken))
    assert done.returncode == 0, done.stderr
    assert any(map(int, done.stdout.split()))


def stay_in_the_proof():
    def stay(*args):
        Path("proving").touch()
        time.sleep(3600)

    job.prove_way = stay


TWICE = """
import os
os.environ["OMP_NUM_THREADS"] = "1"
from tests.study import test_soak
test_soak.kill_twice_in_the_proof()
"""


def kill_twice_in_the_proof():
    whole, _ = crashes.never_stopped()
    with crashes.fresh_folder() as name:
        folder = Path(name)
        for _ in range(2):
            process = crashes.start(folder, stay_in_the_proof)
            while not (folder / "proving").exists():
                time.sleep(0.01)
            process.kill()
            process.join()
            (folder / "proving").unlink()
        assert crashes.wait(crashes.start(folder)) == 0
        assert crashes.found(folder) == whole


@pytest.mark.slow
def test_a_study_that_is_killed_does_not_blame_its_model():
    done = python("-c", TWICE)
    assert done.returncode == 0, done.stderr


def test_the_soak_counts_what_was_told_and_is_not_there(tmp_path):
    (tmp_path / "told").write_text("[0, 0.5]\n")
    tally = crashes.Tally("a result that is lost")
    crashes.check(tmp_path, tally)
    assert tally.lost == 1 and not tally.good
