"""The confirmation again at other learning rates."""

import json

import pytest
import torch
from torch.nn import functional as F

from models.mlp import MLP, MLPConfig
from sweep.answer.answer import collect_answer
from sweep.answer.confirmation import read_confirmation
from sweep.answer.gain import LOOKS, judge
from sweep.command.config import TrainConfig
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.study import confirm
from sweep.work import LOOKS_AT_MOST, Work
from sweep.workload.data import load_data, load_test_split
from tests.conftest import DEVICE, MNIST5K, job_folders, load_study

ROBUST = ["dropout=0.3,0.5", "study.confirm=true", "study.robustness=true"]


def finals(rate, seeds, lr):
    """Return the validation losses of the rate and of rate 0, for each seed."""
    data = load_data(MNIST5K | {"n_train": 200, "n_val": 100}).to(DEVICE)
    settings = [
        Setting(
            lambda rate=rate: MLP(MLPConfig(dropout=rate, width=16)), OptimizerNumbers(lr, 0.01)
        )
        for rate in (rate, 0.0)
    ]
    members = Population(settings, seeds, TrainConfig(), DEVICE)
    for epoch in range(2):
        members.train_epoch(data.train, epoch)
    return members.evaluate(data.val)["loss"].view(2, -1).tolist()


def test_conclusion_at_a_third_and_three_times_the_learning_rate(sweep, capsys):
    folder = sweep(*ROBUST)
    answer = json.loads((folder / "answer.json").read_text())
    rate = answer["best"]["point"]["dropout"]
    seeds = answer["confirmation"]["seeds"][: LOOKS[0].seeds]  # pairs stay pairs
    here = judge("val_loss", *(finals(rate, seeds, 1e-3)))
    for there, lr in zip(answer["robustness"], (1e-3 / 3, 3e-3), strict=True):
        assert there["lr"] == pytest.approx(lr)
        with_it, without = finals(rate, seeds, lr)
        expected = judge("val_loss", with_it, without)
        assert there["gain"]["value"] == pytest.approx(expected.value, rel=1e-3)
        assert there["gain"]["verdict"] == expected.verdict
        change = expected.value - here.value
        assert there["change"]["value"] == pytest.approx(change, abs=1e-4)
    out = capsys.readouterr().out
    assert "with train.lr=0.000333 " in out and "with train.lr=0.003 " in out
    changes = {there["change"]["verdict"] for there in answer["robustness"]}
    assert ("depends on the learning rate" in out) == (changes != {"no evidence"})
    assert ("no difference between learning rates is seen" in out) == (changes == {"no evidence"})
    jobs = job_folders(folder)
    sweep(*ROBUST)
    assert job_folders(folder) == jobs


def test_a_learning_rate_that_diverges_leaves_the_rest(sweep, capsys, monkeypatch):
    monkeypatch.setattr(confirm, "FACTORS", (1 / 3, 1e33))
    folder = sweep(*ROBUST, "train.epochs=1")
    third, huge = load_study(folder).user_attrs["robustness"]
    assert third["chosen"]["val_loss"] and None in huge["chosen"]["val_loss"]
    assert "the training diverged" in capsys.readouterr().out


def test_a_point_that_moved_takes_other_seeds_and_a_stricter_test(sweep, monkeypatch):
    search = ["dropout=interval(0,0.8)", "study.generation=3", "study.confirm=true"]
    folder = sweep(*search, "study.n_trials=3")
    first = load_study(folder).user_attrs["confirmation"]
    points = [{"dropout": 0.23}, {"dropout": 0.0}]
    monkeypatch.setattr(confirm, "contestants", lambda found: points)
    sweep(*search, "study.n_trials=3")
    second = load_study(folder).user_attrs["confirmation"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert second["chosen"]["params"] == points[0] and not set(first["seeds"]) & set(
        second["seeds"]
    )
    gain, other = (read_confirmation(one, "val_loss", False).gains[0] for one in (first, second))
    assert gain.seeds == len(first["seeds"]) and other.seeds == len(second["seeds"])


@pytest.mark.parametrize("tested", [True, False])
def test_samples_of_the_confirmation_against_plain_networks(sweep, capsys, tested, monkeypatch):
    """The recorded standard error over samples, from every network's own losses of samples."""
    if not tested:
        monkeypatch.setattr("sweep.jobs.epochs.load_test_split", lambda config, data: None)
    folder = sweep("dropout=0.5", "study.confirm=true", "data.n_val=300")
    record = load_study(folder).user_attrs["confirmation"]
    data = load_data(MNIST5K | {"n_train": 200, "n_val": 300}).to(DEVICE)
    test = load_test_split(MNIST5K | {"n_train": 200, "n_val": 300}, data) if tested else data.val
    losses, rates = {}, {"chosen": 0.5, "baseline": 0.0}
    for point, rate in rates.items():
        setting = Setting(
            lambda rate=rate: MLP(MLPConfig(dropout=rate, width=16)), OptimizerNumbers(1e-3, 0.01)
        )
        members = Population([setting], record["seeds"], TrainConfig(), DEVICE)
        for epoch in range(2):
            members.train_epoch(data.train, epoch)
        x, y = test[torch.arange(len(test), device=DEVICE)]
        models = [members.engine.member(k).eval() for k in range(members.n_members)]
        each = [F.cross_entropy(model(x), y, reduction="none").detach() for model in models]
        losses[point] = torch.stack(each).double()
    difference = losses["baseline"] - losses["chosen"]
    expected = difference.mean(0).std() / len(test) ** 0.5
    assert record["samples"]["split"] == ("test" if tested else "val")
    assert record["samples"]["sem"]["loss"] == pytest.approx(expected.item(), rel=1e-3)
    there = collect_answer(load_study(folder)).confirmation.on_other_samples
    assert there.value == pytest.approx(difference.mean().item(), abs=1e-5)
    split, chose = ("test", "") if tested else ("validation", ", which chose the rate")
    out = capsys.readouterr().out
    assert f"on other samples: {split} loss " in out
    assert f", counting the luck of seeds and of its samples{chose})" in out


def test_rate_0_that_looks_best_is_tested_against_dropout(sweep, capsys):
    search = ["dropout=0.0,0.5,0.8", "study.confirm=true", "model.width=4", "train.epochs=8"]
    found = collect_answer(load_study(sweep(*search)))
    assert found.best.point == {"dropout": 0.0} == found.use
    assert found.confirmation.chosen.params == {"dropout": 0.5} and found.verdict is not None
    out = capsys.readouterr().out
    assert ("no dropout is best: dropout 0.5 hurts" in out) == (found.verdict == "hurts")


def test_looks_are_as_many_as_work_says():
    titles = [Work("x", 1000 + g, [], []).title for g in range(5)]
    assert len(LOOKS) == LOOKS_AT_MOST and titles[0] == titles[4]
    assert titles[2] == "confirmation, look 3 of at most 3"
    assert titles[3] == "confirmation, other learning rates"
