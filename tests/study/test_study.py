"""A whole study on 200 real digits: what it trains, what it keeps, and what a stop costs."""

import json
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.mlp import MLP, MLPConfig
from sweep.answer.best import find_best
from sweep.command.config import TrainConfig
from sweep.command.space import Axis
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.errors import DataUnavailable
from sweep.show import curves
from sweep.workload.data import load_data
from tests.conftest import DEVICE, load_study


def test_a_list_is_trained_rate_by_rate_as_a_population_alone(sweep):
    folder = sweep("dropout=0.0,0.5,0.2", "train.epochs=3")
    study = load_study(folder)
    assert [t.params["dropout"] for t in study.trials] == [0.0, 0.5, 0.2]
    config = {
        "_target_": "sweep.workload.digits.mnist5k",
        "n_train": 200,
        "n_val": 100,
        "split_seed": 0,
    }
    data = load_data(config).to(DEVICE)
    settings = [
        Setting(
            lambda rate=rate: MLP(MLPConfig(dropout=rate, width=16)), OptimizerNumbers(1e-3, 0.01)
        )
        for rate in (0.0, 0.5, 0.2)
    ]
    members = Population(settings, [0, 1], TrainConfig(), DEVICE)
    for epoch in range(3):
        members.train_epoch(data.train, epoch)
        losses = members.evaluate(data.val)["loss"].view(3, 2).mean(1)
        for trial, loss in zip(study.trials, losses, strict=True):
            assert trial.intermediate_values[epoch + 1] == loss.item()
    assert [t.value for t in study.trials] == losses.tolist()
    on_training_samples = members.evaluate(data.train_part)["loss"].view(3, 2)
    assert len(data.train_part) == 100
    for trial, losses_of_seeds in zip(study.trials, on_training_samples, strict=True):
        assert trial.user_attrs["trained"]["train_loss"] == losses_of_seeds.tolist()


def test_files_of_a_study(sweep):
    folder = sweep("dropout=0.1,0.31", "study.name=mine")
    assert folder.name == "mine"
    runs = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != "jobs")
    assert runs == [
        "answer",
        "rate 0.00 baseline 00",
        "rate 0.10 trial 00",
        "rate 0.31 trial 01",
    ]
    answer = json.loads((folder / "answer.json").read_text())
    assert [t["params"]["dropout"] for t in answer["trials"]] == [0.1, 0.31, 0.0]
    assert [t["number"] for t in answer["trials"]] == [0, 1, None]
    assert answer["opponent"]["params"] == {"dropout": 0.0} and answer["verdict"] is None
    losses = {t["params"]["dropout"]: t["metrics"]["val_loss"]["mean"] for t in answer["trials"]}
    assert answer["best"]["point"]["dropout"] == min((0.1, 0.31), key=losses.get)
    lines = (folder / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("trial,dropout,state,seed,val_loss,") and len(lines) == 1 + 3 * 2
    assert float(lines[1].split(",")[1]) == 0.1 and lines[-1].startswith(",0.0,complete,1,")
    assert "noise tax" in (folder / "report.md").read_text()


def test_tensorboard_shows_each_trial_epoch_by_epoch(sweep):
    folder = sweep("dropout=0.0,0.4", "train.epochs=3")
    for trial, name in zip(load_study(folder).trials, ("0.00", "0.40"), strict=True):
        events = EventAccumulator(str(folder / f"rate {name} trial {trial.number:02d}"))
        events.Reload()
        metrics = ["train_loss_dropout_on", *trial.user_attrs["trained"]["metrics"]]
        tags = {curves.tag_of(metric) for metric in metrics}
        assert {"loss/val", "error/val", "gap/loss"} < tags
        bands = {end for tag in tags for end in curves.band_tags(tag)}
        reported = {"reported/loss", "reported/error", "reported/gap"}
        assert set(events.Tags()["scalars"]) == tags | bands | reported
        points = events.Scalars("loss/val")
        assert [p.step for p in points] == [1, 2, 3]
        for point in points:
            assert math.isclose(point.value, trial.intermediate_values[point.step], rel_tol=1e-6)
        error = events.Scalars("error/val")[-1].value
        expected = sum(trial.user_attrs["trained"]["val_error"]) / 2
        assert math.isclose(error, expected, rel_tol=1e-6)


def test_answer_is_the_fit_of_the_metric_searched(sweep):
    folder = sweep("study.n_trials=8", "study.metric=val_error")
    trials = load_study(folder).trials
    rows = [
        dict(zip(t.user_attrs["seeds"], t.user_attrs["trained"]["val_error"], strict=True))
        for t in trials
    ]
    found, _ = find_best([t.params for t in trials], rows, [Axis("dropout", low=0.0, high=0.8)])
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["best"]["point"] == found.point
    assert answer["best"]["mean"] == pytest.approx(found.mean)


def test_config_groups_and_data_make_one_study_each(sweep, tmp_path, capsys):
    sweep("dropout=0.0,0.2", "data.n_train=150,200")
    assert len([path for path in (tmp_path / "runs").iterdir() if path.is_dir()]) == 2
    out = capsys.readouterr().out
    assert out.count("noise tax") == 2 and "how the best rate moves" in out
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


@pytest.mark.parametrize("has", [True, False])
def test_bf16_on_a_cpu_that_does_not_multiply_it_is_warned_of(sweep, monkeypatch, has):
    features = {"avx512_f": True, "avx512_bf16": False, "amx_bf16": has, "architecture": "x86_64"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    folder = sweep("dropout=0.0,0.2", "train.precision=bf16", "train.device=cpu")
    said = [line for line in load_study(folder).user_attrs["warnings"] if "bf16" in line]
    expected = "train.precision=bf16: this cpu has no such products; it is slower"
    assert said == ([] if has else [expected])
