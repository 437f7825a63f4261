"""A whole study on 200 real digits: what it trains, what it keeps, and what a stop costs."""

import itertools
import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import torch
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.mlp import MLP, MLPConfig
from sweep import batch, curves, report, result
from sweep.answer import best
from sweep.config import BadInput, TrainConfig, Unreachable
from sweep.data import load
from sweep.digits import DataUnavailable
from sweep.engine.plain import Setting
from sweep.engine.population import Population
from sweep.owner import owner
from sweep.space import Axis
from sweep.storage import create
from sweep.training import SweepFailed
from tests.conftest import DEVICE, load_study


def values(folder):
    """Everything that must survive a stop: (number, params, value, curve) of each trial."""
    trials = load_study(folder).trials
    return [(t.number, t.params, t.value, t.intermediate_values) for t in trials]


def test_a_list_is_trained_rate_by_rate_as_a_population_alone(sweep):
    folder = sweep("dropout=0.0,0.5,0.2", "train.epochs=3")
    study = load_study(folder)
    assert [t.params["dropout"] for t in study.trials] == [0.0, 0.5, 0.2]
    config = {"_target_": "sweep.digits.mnist5k", "n_train": 200, "n_val": 100, "split_seed": 0}
    data = load(config).to(DEVICE)
    settings = [
        Setting(lambda rate=rate: MLP(MLPConfig(dropout=rate, width=16)), 1e-3, 0.01)
        for rate in (0.0, 0.5, 0.2)
    ]
    members = Population(settings, [0, 1], TrainConfig(), DEVICE)
    for epoch in range(3):
        members.train_epoch(data.train, epoch)
        losses = members.evaluate(data.val)[0].view(3, 2).mean(1)
        for trial, loss in zip(study.trials, losses, strict=True):
            assert trial.intermediate_values[epoch + 1] == loss.item()
    assert [t.value for t in study.trials] == losses.tolist()
    on_training_samples = members.evaluate(data.train_part)[0].view(3, 2)
    assert len(data.train_part) == 100
    for trial, losses_of_seeds in zip(study.trials, on_training_samples, strict=True):
        assert trial.user_attrs["trained"]["train_loss"] == losses_of_seeds.tolist()


def test_default_search_is_even_levels_and_then_finer_ones(sweep):
    folder = sweep("study.n_trials=12", "study.generation=6")
    trials = load_study(folder).trials
    first = sorted(t.params["dropout"] for t in trials[:6])
    assert first == [0.0, 0.16, 0.32, 0.48, 0.64, 0.8]
    second = sorted(t.params["dropout"] for t in trials[6:])
    steps = {round(b - a, 3) for a, b in itertools.pairwise(second)}
    assert len(set(second)) == 6 and max(steps) - min(steps) < 2e-3 and max(steps) < 0.16
    assert trials[0].user_attrs["seeds"] == [0, 1] and trials[6].user_attrs["seeds"] == [1000, 1001]


def test_files_of_a_study(sweep):
    folder = sweep("dropout=0.1,0.31", "study.name=mine")
    assert folder.name == "mine"
    runs = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != "jobs")
    assert runs == [
        "dropout=0.0000_baseline=000",
        "dropout=0.1000_trial=000",
        "dropout=0.3100_trial=001",
    ]
    answer = json.loads((folder / "answer.json").read_text())
    assert [t["params"]["dropout"] for t in answer["trials"]] == [0.1, 0.31]
    assert answer["baseline"]["params"] == {"dropout": 0.0} and answer["verdict"] is None
    assert answer["best"]["params"]["dropout"] in (0.1, 0.31)
    assert "| rate |" in (folder / "report.md").read_text()


def test_tensorboard_shows_each_trial_epoch_by_epoch(sweep):
    folder = sweep("dropout=0.0,0.4", "train.epochs=3")
    for trial, name in zip(load_study(folder).trials, ("0.0000", "0.4000"), strict=True):
        events = EventAccumulator(str(folder / f"dropout={name}_trial={trial.number:03d}"))
        events.Reload()
        tags = set(curves.TAGS.values())
        assert set(events.Tags()["scalars"]) == tags | {
            end for tag in tags for end in curves.band(tag)
        }
        points = events.Scalars("loss/val")
        assert [p.step for p in points] == [1, 2, 3]
        for point in points:
            assert math.isclose(point.value, trial.intermediate_values[point.step], rel_tol=1e-6)
        error = events.Scalars("error/val")[-1].value
        expected = sum(trial.user_attrs["trained"]["val_error"]) / 2
        assert math.isclose(error, expected, rel_tol=1e-6)


def test_baseline_is_kept_apart_from_the_search(sweep):
    folder = sweep("dropout=interval(0.2,0.6)", "study.n_trials=3", "study.generation=3")
    study = load_study(folder)
    assert len(study.trials) == 3 and min(t.params["dropout"] for t in study.trials) == 0.2
    (baseline,) = study.user_attrs["baselines:0"]
    assert baseline["seeds"] == [0, 1] and baseline["params"] == {"dropout": 0.0}
    folder = sweep("dropout=0.3", "study.baseline=false")
    assert not any("baseline" in key for key in load_study(folder).user_attrs)
    assert [t.params for t in load_study(folder).trials] == [{"dropout": 0.3}]


def test_learning_rate_and_width_are_searched_beside_the_rate(sweep):
    folder = sweep(
        "dropout=0.0,0.5", "train.lr=1e-3,1e-2", "model.width=8,16", "train.weight_decay=0.0,0.1"
    )
    trials = load_study(folder).trials
    assert len({tuple(sorted(t.params.items())) for t in trials}) == len(trials) == 16
    assert {t.params["model.width"] for t in trials} == {8, 16}
    assert len(set(t.value for t in trials)) == 16  # each number has its effect
    jobs = [json.loads(p.read_text()) for p in folder.glob("jobs/*/result.json")]
    widths = [{t["params"]["model.width"] for t in job["trials"]} for job in jobs]
    assert sorted(widths, key=min) == [{8}, {16}]  # one architecture a population


@pytest.mark.parametrize("name", ["tpe", "gp", "qmc", "random"])
def test_optunas_samplers(sweep, name):
    lr = "train.lr=tag(log,interval(1e-4,1e-2))"
    folder = sweep(f"sampler={name}", lr, "study.n_trials=5", "study.generation=3")
    points = [t.params for t in load_study(folder).trials]
    assert len(points) == 5 and len({p["dropout"] for p in points}) == 5
    assert all(0 <= p["dropout"] <= 0.8 and 1e-4 <= p["train.lr"] <= 1e-2 for p in points)


def test_qmc_covers_the_ground_evenly_from_the_first_trial_on(sweep):
    lr = "train.lr=tag(log,interval(1e-4,1e-2))"
    command = ["sampler=qmc", lr, "model.width=interval(8,11)", "study.baseline=false"]
    points = [t.params for t in load_study(sweep(*command, "study.n_trials=8")).trials]
    eighths = {
        "dropout": sorted(int(p["dropout"] / 0.1) for p in points),
        "train.lr": sorted(int(4 * math.log10(p["train.lr"] / 1e-4)) for p in points),
    }
    assert eighths == {"dropout": list(range(8)), "train.lr": list(range(8))}
    assert sorted(p["model.width"] for p in points) == [8, 8, 9, 9, 10, 10, 11, 11]


def test_the_same_command_again_trains_nothing_and_answers(sweep, capsys):
    folder = sweep("dropout=0.0,0.2")
    first, jobs = capsys.readouterr().out, result.job_numbers(folder / "jobs")
    assert sweep("dropout=0.0,0.2") == folder
    assert result.job_numbers(folder / "jobs") == jobs
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
        (result, "write", 1),
        (batch, "_config", 2),
        pytest.param(optuna.Study, "add_trial", 1, marks=pytest.mark.slow),
        pytest.param(optuna.Study, "add_trial", 3, marks=pytest.mark.slow),
        pytest.param(optuna.Study, "tell", 3, marks=pytest.mark.slow),
        pytest.param(RDBStorage, "_set_trial_attr_without_commit", 4, marks=pytest.mark.slow),
        pytest.param(result.os, "replace", 2, marks=pytest.mark.slow),
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
    for run in folder.glob("dropout=*"):
        events = EventAccumulator(str(run))
        events.Reload()
        assert [p.step for p in events.Scalars("loss/val")] == [1, 2]


def test_a_storage_that_breaks_after_it_has_written_makes_no_trial_more(sweep, monkeypatch):
    command = ["study.n_trials=6", "study.generation=3"]
    whole = values(sweep(*command, "study.name=whole"))
    real, calls = RDBStorage._create_new_trial, []

    def breaking(*args, **kwargs):
        answer = real(*args, **kwargs)
        calls.append(1)
        if len(calls) == 2:
            raise OperationalError("COMMIT", {}, Exception("the connection broke"))
        return answer

    monkeypatch.setattr(RDBStorage, "_create_new_trial", breaking)
    folder = sweep(*command, "study.name=broken")
    assert values(folder) == whole and len(calls) > 2
    assert all(t.state == TrialState.COMPLETE for t in load_study(folder).trials)


def test_a_typed_name_with_another_fingerprint_is_refused(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    before = values(folder)
    with pytest.raises(BadInput, match=r"study\.name=mine: exists, with another train\.lr"):
        sweep("dropout=0.0,0.2", "study.name=mine", "train.lr=0.01")
    with pytest.raises(BadInput, match=r"space\.dropout"):
        sweep("dropout=0.0,0.3", "study.name=mine")
    assert values(folder) == before


def test_a_second_owner_is_refused_and_a_dead_one_is_not_in_the_way(sweep, tmp_path):
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    with (
        owner(folder / "owner", "mine"),
        pytest.raises(BadInput, match=r"study\.name=mine: process \d+ on .* is at it"),
    ):
        sweep("dropout=0.0,0.2", "study.name=mine")
    assert sweep("dropout=0.0,0.2", "study.name=mine") == folder


def test_a_study_kept_elsewhere_has_one_owner_whatever_its_folder(sweep, tmp_path):
    shared = ["dropout=0.0,0.2", "study.name=mine", f"study.storage=sqlite:///{tmp_path}/team.db"]
    sweep(*shared)
    with (
        owner(tmp_path / "team.db.mine.owner", "mine"),
        pytest.raises(BadInput, match=r"study\.name=mine: process \d+ on .* is at it"),
    ):
        sweep(*shared, "hydra.sweep.dir=others")
    sweep(*shared, "hydra.sweep.dir=others")  # it has the answer of the first one
    assert not Path("others/mine/jobs").exists()


def test_a_study_of_another_program_is_refused_and_left_as_it_is(sweep, tmp_path):
    url = f"sqlite:///{tmp_path}/theirs.db"
    theirs = optuna.create_study(storage=url, study_name="theirs")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    optuna.create_study(storage=url, study_name="upwards", direction="maximize")
    optuna.create_study(storage=url, study_name="two", directions=["minimize"] * 2)
    for name, why in (
        ("theirs", "is another program's study"),
        ("upwards", "minimises no single number"),
        ("two", "minimises no single number"),
    ):
        with pytest.raises(BadInput, match=why):
            sweep("dropout=0.0,0.2", f"study.name={name}", f"study.storage={url}")
    assert not theirs.user_attrs and len(theirs.trials) == 2
    with pytest.raises(BadInput, match="theirs: is another program's study"):
        report.again([str(tmp_path / "theirs"), f"study.storage={url}"])


SLOW_NAMES = [pytest.param(name, marks=pytest.mark.slow) for name in ("a#b", "$x$y", "it's {here}")]


@pytest.mark.parametrize("name", ["what?", "100%20", *SLOW_NAMES])
def test_a_folder_may_have_any_name(sweep, tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    (tmp_path / "runs").symlink_to(tmp_path / name / "runs")
    sweep("dropout=0.0,0.2", "study.name=mine")
    assert (tmp_path / name / "runs" / "mine" / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert report.again([str(tmp_path / name / "runs" / "mine")]) == 0


def test_but_one_that_hydra_would_take_for_an_interpolation(sweep, tmp_path, monkeypatch):
    (tmp_path / "${x}").mkdir()
    monkeypatch.chdir(tmp_path / "${x}")
    with pytest.raises(BadInput, match=r"hydra\.sweep\.dir=.*: must not hold \$\{"):
        sweep("dropout=0.0,0.2")
    assert not list(Path.cwd().iterdir())


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


def test_answer_is_the_fit_of_the_metric_searched(sweep):
    folder = sweep("study.n_trials=8", "study.metric=val_error")
    trials = load_study(folder).trials
    rows = [
        dict(zip(t.user_attrs["seeds"], t.user_attrs["trained"]["val_error"], strict=True))
        for t in trials
    ]
    found = best([t.params for t in trials], rows, [Axis("dropout", low=0.0, high=0.8)])
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["best"]["params"] == found.point
    assert answer["best"]["curve"]["mean"] == pytest.approx(found.mean)


def test_log_search_beside_a_baseline_that_has_no_logarithm(sweep):
    folder = sweep("dropout=tag(log,interval(0.01,0.5))", "study.n_trials=4", "study.generation=4")
    assert [t.params["dropout"] for t in load_study(folder).trials][:2] == [0.01, 0.1357]
    assert len(load_study(folder).user_attrs["baselines:0"]) == 1


def test_rates_that_differ_in_the_last_digit_are_other_studies(sweep):
    assert sweep("dropout=0.1234567") != sweep("dropout=0.1234568")


def test_half_a_result_is_no_result(tmp_path, monkeypatch):
    (tmp_path / "0").mkdir()
    work = result.Work("mine", 0, [0], [{"number": 0, "params": {"dropout": 0.5}}])

    text = result.to_text(work, [result.Left(error="x")], 1.0)

    def torn(file):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(result.os, "fsync", torn)
        with pytest.raises(OSError, match="disk full"):
            result.write(tmp_path / "0", text[:13])
    assert result.read(tmp_path, "mine", 0) == {}
    result.write(tmp_path / "0", text)
    assert result.read(tmp_path, "mine", 0)[0, 0].error == "x"
    assert result.read(tmp_path, "another", 0) == {}


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


def schema(path):
    with closing(sqlite3.connect(path)) as database:
        return {sql for (sql,) in database.execute("SELECT sql FROM sqlite_master")}


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 13])
def test_a_database_is_there_whole_or_not_at_all(tmp_path, n):
    whole, path, statements = tmp_path / "whole.db", tmp_path / "study.db", []
    create(whole)

    def strike(connection, cursor, statement, *_):
        statements.extend([statement] if statement.strip().startswith("CREATE") else [])
        if len(statements) == n:
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", strike)
    with pytest.raises(KeyboardInterrupt):
        create(path)
    event.remove(Engine, "before_cursor_execute", strike)
    assert not path.exists()
    create(path)
    assert schema(path) == schema(whole) and len(schema(whole)) > 12
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


def test_a_damaged_result_is_named(sweep):
    folder = sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")
    whole, path = values(folder), folder / "jobs" / "0" / "result.json"
    path.write_text(path.read_text()[:50])
    (folder / "study.db").unlink()
    with pytest.raises(Unreachable, match=r"jobs/0/result\.json: is damaged"):
        sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")
    path.unlink()
    assert values(sweep("dropout=0.0,0.2", "study.name=mine", "study.seeds=1")) == whole


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
    assert len(list(folder.glob("dropout=*/*"))) == 5, "one event file, though begun twice"


def test_a_lost_device_is_taken_for_no_trials_fault_but_the_culprits(sweep, monkeypatch):
    """A device assert takes the device from the process; it is only known who trained together."""
    from sweep import job

    monkeypatch.setattr(job, "lost", False)  # in the end it is put back
    real, trained = job.train, []

    def train(config, work, *places):
        trained.append([trial["number"] for trial in work.trials])
        if 2 in trained[-1]:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return real(config, work, *places)

    monkeypatch.setattr(job, "train", train)
    command = "dropout=0.0,0.1,0.2,0.3,0.4", "study.name=mine", "train.fuse=8"
    for _ in range(2):
        with pytest.raises(SweepFailed, match="same command"):
            sweep(*command)
        assert not any(t.state.is_finished() for t in load_study(Path("runs/mine")).trials)
        monkeypatch.setattr(job, "lost", False)  # another process
    states = [trial.state.name for trial in load_study(sweep(*command)).trials]
    assert states == ["COMPLETE"] * 2 + ["FAIL"] + ["COMPLETE"] * 2
    assert trained == [[0, 1], [2, 3, 4], [2], [3], [4]]


def test_when_everything_fails_the_command_does_and_can_be_repeated(sweep, monkeypatch):
    from sweep import job

    with monkeypatch.context() as patch:
        patch.setattr(job, "train", lambda *_: 1 / 0)
        with pytest.raises(SweepFailed, match="ZeroDivisionError"):
            sweep("dropout=0.0,0.2", "study.name=mine")
    folder = sweep("dropout=0.0,0.2", "study.name=mine")
    assert all(t.state == TrialState.COMPLETE for t in load_study(folder).trials)


def test_population_size_changes_no_result(sweep):
    together = sweep("dropout=0.0,0.2,0.5", "study.name=together")
    apart = sweep("dropout=0.0,0.2,0.5", "study.name=apart", "train.fuse=2")
    assert len(result.job_numbers(apart / "jobs")) == 3
    one, other = ([t.value for t in load_study(f).trials] for f in (together, apart))
    assert one == pytest.approx(other, rel=1e-5)


def test_config_groups_and_data_make_one_study_each(sweep, tmp_path, capsys):
    sweep("dropout=0.0,0.2", "data.n_train=150,200")
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 2
    out = capsys.readouterr().out
    assert out.count("| rate |") == 2 and "how the best rate moves" in out
    assert (tmp_path / "runs" / "best_rate_over_data.n_train.png").exists()


def test_missing_data_fall_back_on_the_bundled_digits(sweep, tmp_path, capsys):
    missing = ["data=mnist", "data.root=nowhere", "data.download=false"]
    folder = sweep(*missing, "dropout=0.0,0.2")
    assert folder.name.startswith("mlp-mnist5k-")
    assert "data=mnist5k is used instead" in capsys.readouterr().err
    assert "data=mnist5k is used instead" in (folder / "report.md").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]
    with pytest.raises(DataUnavailable, match="MNIST is not in nowhere"):
        sweep(*missing, "dropout=0.0,0.2", "data.fallback=null")
