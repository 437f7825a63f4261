"""A study that was stopped, or is asked for again: nothing is lost and nothing trained twice."""

import optuna
import pytest
import torch
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.mlp import MLP
from sweep import files
from sweep.command.plan import Plan
from sweep.jobs import job
from sweep.show import curves
from tests.conftest import job_folders, load_study, values


def test_the_same_command_again_trains_nothing_and_answers(sweep, capsys):
    folder = sweep("dropout=0.0,0.2")
    first, jobs = capsys.readouterr().out, job_folders(folder)
    assert sweep("dropout=0.0,0.2") == folder
    assert job_folders(folder) == jobs
    assert capsys.readouterr().out == first


def test_more_trials_continue_a_study(sweep):
    folder = sweep("study.n_trials=4", "study.generation=4")
    before = values(folder)
    assert sweep("study.n_trials=6", "study.generation=4") == folder
    after = values(folder)
    assert after[:4] == before and len(after) == 6


class Stop(KeyboardInterrupt):
    """Stands for a kill: nothing in the product catches it."""


def stop_at(monkeypatch, owner, name, call):
    """Make the given call of a function stop the command before it does anything."""
    real, calls = getattr(owner, name), []

    def stopping(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise Stop
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, stopping)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (optuna.Study, "ask", 3),
        (optuna.Study, "add_trial", 6),
        (job, "write_result", 1),
        (Plan, "hydra_config", 2),
        pytest.param(optuna.Study, "add_trial", 1, marks=pytest.mark.slow),
        pytest.param(optuna.Study, "add_trial", 3, marks=pytest.mark.slow),
        pytest.param(optuna.Study, "tell", 3, marks=pytest.mark.slow),
        pytest.param(RDBStorage, "_set_trial_attr_without_commit", 4, marks=pytest.mark.slow),
        pytest.param(files.os, "replace", 2, marks=pytest.mark.slow),
        pytest.param(curves.Curves, "log", 3, marks=pytest.mark.slow),
    ],
)
def test_stopped_anywhere_and_resumed_equals_never_stopped(sweep, monkeypatch, owner, name, call):
    command = ["study.n_trials=8", "study.generation=4"]
    whole = values(sweep(*command, "study.name=whole"))
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call)
        with pytest.raises(Stop):
            sweep(*command, "study.name=stopped")
    folder = sweep(*command, "study.name=stopped")
    assert values(folder) == whole
    assert all(t.state == TrialState.COMPLETE for t in load_study(folder).trials)
    for run in folder.glob("rate *"):
        events = EventAccumulator(str(run))
        events.Reload()
        assert [p.step for p in events.Scalars("loss/val")] == [1, 2]


@pytest.mark.parametrize("n", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))])
def test_one_that_fails_also_does_where_the_study_was_stopped_before_it_was_told(
    sweep, monkeypatch, n
):
    real, add, told = MLP.__init__, optuna.Study.add_trial, []

    def broken(self, config):
        if config.dropout > 0.6 and torch.initial_seed() < 3000:  # while it is trained
            raise ArithmeticError("no luck")
        real(self, config)

    def stop(study, trial):
        told.append(trial)
        if len(told) > n:
            raise KeyboardInterrupt
        return add(study, trial)

    monkeypatch.setattr(MLP, "__init__", broken)
    search = ["study.n_trials=4", "study.generation=2"]
    whole = values(sweep(*search))
    assert None in [value for _, _, value, _ in whole]
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "add_trial", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep(*search, "study.name=stopped")
    assert values(sweep(*search, "study.name=stopped")) == whole
