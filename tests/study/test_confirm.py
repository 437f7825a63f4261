"""The confirmation again at other learning rates."""

import json

import pytest

from models.mlp import MLP, MLPConfig
from sweep.answer.gain import LOOKS, gain
from sweep.command.config import TrainConfig
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.study import confirm
from sweep.work import CONFIRMATION, seeds_of
from sweep.workload.data import load_data
from tests.conftest import DEVICE, MNIST5K, job_folders, load_study

ROBUST = ["dropout=0.3,0.5", "study.confirm=true", "study.robustness=true"]


def test_conclusion_at_a_third_and_three_times_the_learning_rate(sweep, capsys):
    folder = sweep(*ROBUST)
    answer = json.loads((folder / "answer.json").read_text())
    rate = answer["best"]["params"]["dropout"]
    seeds = seeds_of(CONFIRMATION + len(LOOKS), LOOKS[0])
    assert not set(seeds) & set(answer["confirmation"]["seeds"])
    data = load_data(MNIST5K | {"n_train": 200, "n_val": 100}).to(DEVICE)
    for there, lr in zip(answer["robustness"], (1e-3 / 3, 3e-3), strict=True):
        assert there["lr"] == pytest.approx(lr)
        settings = [
            Setting(
                lambda rate=rate: MLP(MLPConfig(dropout=rate, width=16)), OptimizerNumbers(lr, 0.01)
            )
            for rate in (0.0, rate)
        ]
        members = Population(settings, seeds, TrainConfig(), DEVICE)
        for epoch in range(2):
            members.train_epoch(data.train, epoch)
        without, with_it = members.evaluate(data.val)["loss"].view(2, -1)
        expected = gain((without - with_it).tolist())
        assert there["gain"]["value"] == pytest.approx(expected.value, rel=1e-3)
        assert there["gain"]["verdict"] == expected.verdict
    out = capsys.readouterr().out
    assert "with train.lr=0.000333 " in out and "with train.lr=0.003 " in out
    same = {there["gain"]["verdict"] for there in answer["robustness"]} == {answer["verdict"]}
    assert ("the conclusion holds" in out) == same
    jobs = job_folders(folder)
    sweep(*ROBUST)
    assert job_folders(folder) == jobs


def test_a_learning_rate_that_diverges_leaves_the_rest(sweep, capsys, monkeypatch):
    monkeypatch.setattr(confirm, "FACTORS", (1 / 3, 1e33))
    folder = sweep(*ROBUST, "train.epochs=1")
    third, huge = load_study(folder).user_attrs["robustness"]
    assert third["gain"] is not None and huge["gain"] is None
    assert "the training diverged" in capsys.readouterr().out
