"""What fails fails alone: a trial, a population, a device."""

import json
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from models.mlp import MLP
from sweep.engine.population import Population
from sweep.errors import SweepFailed
from tests.conftest import job_folders, load_study


def test_a_diverging_trial_fails_alone(sweep):
    folder = sweep("dropout=0.0,0.2", "train.lr=1e-3,1e30")
    healthy = sweep("dropout=0.0,0.2", "train.lr=1e-3")
    trials = load_study(folder).trials
    failed = [t for t in trials if t.params["train.lr"] == 1e30]
    assert [t.state for t in failed] == [TrialState.FAIL] * 2
    assert all("diverged at epoch" in t.user_attrs["reason"] for t in failed)
    others = [t.value for t in trials if t not in failed]
    assert others == pytest.approx([t.value for t in load_study(healthy).trials], rel=1e-4)
    assert "diverged" in (folder / "report.md").read_text()


def test_a_trial_whose_loss_diverges_fails_whatever_is_minimised(sweep):
    folder = sweep("dropout=0.0,0.2", "train.lr=1e-3,1e30", "study.metric=val_error")
    states = {t.params["train.lr"]: t.state for t in load_study(folder).trials}
    assert states == {1e-3: TrialState.COMPLETE, 1e30: TrialState.FAIL}
    json.loads((folder / "answer.json").read_text(), parse_constant=pytest.fail)


def losses(folder):
    return [trial.value for trial in load_study(folder).trials]


def test_a_trial_that_fails_fails_alone(sweep, monkeypatch):
    whole = losses(sweep("dropout=0.0,0.1,0.2,0.3,0.4"))
    real = MLP.__init__

    def broken(self, config):
        if config.dropout == 0.2 and torch.initial_seed() < 2:  # while it is trained, not checked
            raise ArithmeticError("no luck")
        real(self, config)

    monkeypatch.setattr(MLP, "__init__", broken)
    folder = sweep("dropout=0.0,0.1,0.2,0.3,0.4", "study.name=broken")
    trials = load_study(folder).trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 2
    assert trials[2].user_attrs["reason"] == "ArithmeticError: no luck"
    for place in (0, 1, 3, 4):
        assert trials[place].value == pytest.approx(whole[place], rel=1e-4)


def test_what_does_not_fit_in_memory_together_is_trained_in_parts(sweep, monkeypatch):
    whole = losses(sweep("dropout=0.0,0.1,0.2,0.3,0.4"))
    real = Population.step

    def step(self, *args):
        if self.n_members > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, *args)

    monkeypatch.setattr(Population, "step", step)
    folder = sweep("dropout=0.0,0.1,0.2,0.3,0.4", "study.name=parts")
    assert losses(folder) == pytest.approx(whole, rel=1e-4)
    files = list(folder.glob("rate */*[0-9]"))
    assert len(files) == 5, "one file a trial, though begun twice"


def test_a_lost_device_is_taken_for_no_trials_fault_but_the_culprits(sweep, monkeypatch):
    """A device assert takes the device from the process; it is only known who trained together."""
    from sweep.jobs import job

    monkeypatch.setattr(job, "device_lost", False)  # in the end it is put back
    real, trained = job.train_population, []

    def train(config, work, *places):
        trained.append([trial.number for trial in work.trials])
        if 2 in trained[-1]:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return real(config, work, *places)

    monkeypatch.setattr(job, "train_population", train)
    command = "dropout=0.0,0.1,0.2,0.3,0.4", "study.name=mine", "train.fuse=8"
    for _ in range(2):
        with pytest.raises(SweepFailed, match="same command"):
            sweep(*command)
        assert not any(t.state.is_finished() for t in load_study(Path("runs/mine")).trials)
        monkeypatch.setattr(job, "device_lost", False)  # another process
    states = [trial.state.name for trial in load_study(sweep(*command)).trials]
    assert states == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 2
    assert trained == [[0, 1], [2, 3, 4], [2], [3], [4]]


def test_when_everything_fails_the_command_does_and_can_be_repeated(sweep, monkeypatch):
    from sweep.jobs import job

    with monkeypatch.context() as patch:
        patch.setattr(job, "train_population", lambda *_: 1 / 0)
        with pytest.raises(SweepFailed, match="ZeroDivisionError"):
            sweep("dropout=0.0,0.2", "study.name=mine")
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    assert all(t.state == TrialState.COMPLETE for t in load_study(folder).trials)


def test_population_size_changes_no_result(sweep):
    together = sweep("dropout=0.0,0.2,0.5", "study.name=together")
    apart = sweep("dropout=0.0,0.2,0.5", "study.name=apart", "train.fuse=2")
    assert len(job_folders(apart)) == 3
    one, other = ([t.value for t in load_study(f).trials] for f in (together, apart))
    assert one == pytest.approx(other, rel=1e-5)
