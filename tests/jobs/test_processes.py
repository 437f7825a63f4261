"""A study whose members train side by side in processes, as a user sees it."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from models.cnn import CNN
from models.mlp import MLP
from sweep.engine import workers
from sweep.engine.forked import _descendants
from sweep.jobs.training import _learn_ways
from sweep.work import Way
from tests.command.test_command import start
from tests.conftest import DEVICE, load_study
from tests.engine.test_hazards import wrong_layers

pytestmark = pytest.mark.skipif(DEVICE.type != "cpu", reason="several processes are for a CPU")
TESTS = os.getpid()
STUDY = ["model=cnn", "dropout=0.0,0.2,0.4"]


@pytest.fixture(autouse=True)
def threads(set_threads, no_fork_is_left):
    """Give a job two threads, and so two processes."""
    set_threads(2)


@pytest.fixture
def forked(monkeypatch):
    """Return a list that gets an entry for each population that is begun in several processes."""
    real, begun = workers.Workers.__init__, []

    def init(self, *args):
        begun.append(args)
        real(self, *args)

    monkeypatch.setattr(workers.Workers, "__init__", init)
    return begun


def found(folder):
    """Return what was found for each trial."""
    return [(t.params, t.value, t.intermediate_values) for t in load_study(folder).trials]


def processes(folder):
    """Return in how many processes the trials were trained."""
    files = sorted(folder.glob("jobs/*/result.json"))
    ends = [json.loads(file.read_text()) for file in files]
    return {one["execution"].get("processes") for end in ends for one in end["results"]}


def test_study_finds_what_it_finds_in_one_process(sweep, forked):
    confirmed = [*STUDY, "study.confirm=true"]
    mine = sweep(*confirmed)
    assert len(forked) >= 2  # the search, and the looks of the confirmation
    torch.set_num_threads(1)
    alone = sweep(*confirmed, "study.name=alone")
    assert found(mine) == found(alone)
    answers = [json.loads((folder / "answer.json").read_text()) for folder in (mine, alone)]
    assert answers[0]["confirmation"] == answers[1]["confirmation"]
    assert processes(mine) == {2}
    assert "one by one in 2 processes on cpu, since" in (mine / "report.md").read_text()


def test_members_that_are_fused_are_so_in_each_process(sweep, forked):
    study = ["model=mlp", "model.width=16", "dropout=0.0,0.2,0.4", "train.epochs=4"]
    mine = sweep(*study, "study.confirm=true", "data.n_train=600")
    assert len(forked) >= 2 and processes(mine) == {2}
    torch.set_num_threads(1)
    alone = sweep(*study, "study.confirm=true", "data.n_train=600", "study.name=alone")
    values = [[value for _, value, _ in found(folder)] for folder in (mine, alone)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    report = (mine / "report.md").read_text()
    assert "6 as 2 programs in as many processes on cpu, 3 in a pass" in report
    assert "6 as one program on cpu, 6 in a pass" in (alone / "report.md").read_text()


def test_program_that_errs_in_a_process_is_trained_one_by_one(sweep, monkeypatch, forked):
    study = ["model=mlp", "model.width=16", "dropout=0.0,0.2,0.4"]
    true = [value for _, value, _ in found(sweep(*study, "study.name=true"))]
    told = []
    monkeypatch.setattr("sweep.jobs.job.log.warning", lambda text, *args: told.append(text % args))
    fused = Way("fused", device="cpu", torch=torch.__version__)
    monkeypatch.setattr("sweep.jobs.job.prove_way", lambda *args: fused)
    wrong_layers(monkeypatch)
    forked.clear()
    assert [value for _, value, _ in found(sweep(*study))] == pytest.approx(true, rel=1e-4)
    assert told[0].startswith("trained again, member by member: the ")
    assert "would differ" in told[0]
    assert len(forked) == 2


def test_trials_that_are_halved_away_leave_their_processes(sweep, forked):
    study = ["model=cnn", "dropout=0.0,0.1,0.2,0.3,0.4", "train.epochs=4", "study.prune=halving"]
    mine = sweep(*study, "study.seeds=1")
    assert len(forked) == 1
    torch.set_num_threads(1)
    assert found(mine) == found(sweep(*study, "study.seeds=1", "study.name=alone"))


def broken(monkeypatch, fail):
    real = CNN.forward

    def forward(self, x):
        fail(self)
        return real(self, x)

    monkeypatch.setattr(CNN, "forward", forward)


def test_a_trial_that_fails_fails_alone(sweep, monkeypatch, forked):
    whole = found(sweep(*STUDY, "study.name=whole"))
    real = CNN.__init__

    def init(self, config):
        if config.dropout == 0.4 and torch.initial_seed() < 2:  # while it is trained, not checked
            raise ArithmeticError("no luck")
        real(self, config)

    monkeypatch.setattr(CNN, "__init__", init)
    trials = load_study(sweep(*STUDY)).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 2 + [TrialState.FAIL]
    assert trials[2].user_attrs["reason"] == "ArithmeticError: no luck"
    assert [t.value for t in trials[:2]] == pytest.approx([v for _, v, _ in whole[:2]], rel=1e-4)


def test_what_fails_in_a_process_only_is_trained_in_one(sweep, monkeypatch, forked):
    def fail(self):
        if os.getpid() != TESTS:
            raise RuntimeError("a thread is gone")

    told = []
    monkeypatch.setattr("sweep.jobs.job.log.warning", lambda text, *args: told.append(text % args))
    whole = found(sweep(*STUDY, "study.name=whole", "study.confirm=true"))
    forked.clear()
    broken(monkeypatch, fail)
    folder = sweep(*STUDY, "study.confirm=true")
    assert [v for _, v, _ in found(folder)] == pytest.approx([v for _, v, _ in whole], rel=1e-4)
    assert told[-1] == "trained again, in one process: RuntimeError: a thread is gone"
    assert len(forked) == 1  # what the first job found out, others know


def die():
    os.kill(os.getpid(), signal.SIGKILL)


DIED = "member by member: a process died while its model was tried out"
FAILS = "again, member by member: as one program it fails: a process died"
WAITS = "tried out again, in one process: a process waits for what is not there"


@pytest.mark.parametrize(
    ("does", "dtype", "said", "n_processes"),
    [
        (die, torch.float64, f"trained {DIED}", 2),
        (die, torch.float32, f"trained {FAILS}", 2),
        (lambda: time.sleep(3600), torch.float64, WAITS, None),
    ],
    ids=["dies when tried out", "dies as one program", "waits"],
)
def test_a_model_may_end_or_hold_a_process(does, dtype, said, n_processes, sweep, monkeypatch):
    real = MLP.forward

    def forward(self, x):
        weight = next(self.parameters())
        as_one = torch._C._functorch.is_functorch_wrapped_tensor(weight)
        if os.getpid() != TESTS and as_one and weight.dtype == dtype:
            does()
        return real(self, x)

    study = ["model=mlp", "model.width=16", "dropout=0.0,0.2", "study.confirm=true"]
    true = found(sweep(*study, "study.name=true"))
    told = []
    monkeypatch.setattr("sweep.jobs.job.log.warning", lambda text, *args: told.append(text % args))
    monkeypatch.setattr(MLP, "forward", forward)
    monkeypatch.setattr("sweep.engine.forked.CHECKED", 0.3)
    folder = sweep(*study)
    assert [v for _, v, _ in found(folder)] == pytest.approx([v for _, v, _ in true], rel=1e-4)
    assert told == [said]  # once: what the first job found out, others know
    assert processes(folder) == {n_processes}


def test_what_a_way_needs_is_learnt_of_programs_too():
    fused, plain = Way("fused"), Way("plain", draws=("numpy",))
    alone = [replace(way, in_one_process=True) for way in (fused, plain)]
    for found, expected in (
        ([fused, alone[0]], alone[0]),
        ([alone[0], fused], alone[0]),
        ([fused, plain, alone[0]], alone[1]),
        ([alone[0], plain], alone[1]),
        ([plain, fused], plain),
    ):
        ways = _learn_ways({}, [({"dropout": 0.1}, way) for way in found])
        assert list(ways.values()) == [expected]


@pytest.mark.parametrize("to_all", [True, False], ids=["terminal", "command"])
@pytest.mark.parametrize(("which", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_ends_the_processes_too(which, code, to_all, tmp_path):
    study = ["model=cnn", "data=mnist5k", "dropout=0.0,0.2", "train.epochs=500", "study.name=mine"]
    process = start(tmp_path, *study, OMP_NUM_THREADS="2")
    deadline = time.monotonic() + 120
    while len(pids := _descendants(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    (os.killpg if to_all else os.kill)(process.pid, which)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in err
    assert err.count("interrupted; run the same command to resume") == 1
    assert len(pids) == 2 and not any(Path(f"/proc/{pid}").exists() for pid in pids)
