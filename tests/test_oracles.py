"""Whole studies whose answer is known beforehand: by a formula, or by what theory says."""

import json

import numpy as np
import pytest
import yaml

from tests import oracles


@pytest.fixture
def conf(tmp_path):
    """A folder of configs for the models and data of tests/oracles.py, as a user would add them."""
    for path, content in {
        "model/linear.yaml": {"_target_": "tests.oracles.Linear"},
        "model/dead.yaml": {"_target_": "tests.oracles.Dead"},
        "data/linear.yaml": {"_target_": "tests.oracles.linear", "wrong": 0.0},
    }.items():
        file = tmp_path / "own" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content))
    return f"hydra.searchpath=[file://{tmp_path}/own]"


def answer(folder):
    return json.loads((folder / "answer.json").read_text())


def holds(found, rate):
    """Return whether the set has a rate, to the nearest hundredth."""
    islands = found["best"]["ranges"]["dropout"]["islands"]
    return any(low - 0.005 <= rate <= high + 0.005 for low, high in islands)


LEAST_SQUARES = [
    *["model=linear", "data=linear", "train.loss=mse", "train.weight_decay=0.0", "study.seeds=3"],
    *[f"train.batch_size={oracles.N}", "train.epochs=60", "train.lr=0.01", "train.schedule=cosine"],
]


def test_dropout_on_the_inputs_of_least_squares_is_ridge_regression(sweep, conf):
    found = answer(sweep(conf, *LEAST_SQUARES, "study.confirm=true"))
    for trial in found["trials"]:
        expected = oracles.ridge(trial["params"]["dropout"])
        assert trial["metrics"]["val_loss"]["mean"] == pytest.approx(expected, rel=0.01)
    rates = np.linspace(0, 0.8, 801)
    losses = [oracles.ridge(rate) for rate in rates]
    best = rates[np.argmin(losses)]
    point = found["best"]["point"]["dropout"]
    assert 0.1 < best < 0.7  # or it would prove little
    assert holds(found, best) and point == pytest.approx(best, abs=0.06)
    gain = found["confirmation"]["gains"][0]
    assert found["verdict"] == "helps" and found["use"] == {"dropout": point}
    assert gain["value"] == pytest.approx(losses[0] - oracles.ridge(point), rel=0.1)
    for rate, train, gap in zip(
        *(found["parts"][key] for key in ("rates", "train", "gap")), strict=True
    ):
        excess = oracles.ridge(rate) - oracles.ridge(point)
        assert train + gap == pytest.approx(excess, abs=0.1 * losses[0])


def test_error_has_a_best_rate_of_its_own_as_the_formula_says(sweep, conf):
    found = answer(sweep(conf, *LEAST_SQUARES, "study.metric=val_error"))
    for trial in found["trials"]:
        expected = oracles.ridge_error(trial["params"]["dropout"])
        assert trial["metrics"]["val_error"]["mean"] == pytest.approx(expected, abs=0.008)
    rates = np.linspace(0, 0.8, 81)
    errors = np.array([oracles.ridge_error(rate) for rate in rates])
    assert rates[errors.argmin()] < rates[np.argmin([oracles.ridge(r) for r in rates])] - 0.1
    assert any(holds(found, rate) for rate in rates[errors <= errors.min() + 0.001])
    assert oracles.ridge_error(found["best"]["point"]["dropout"]) < errors.min() + 0.004
    inside = errors[[holds(found, rate) for rate in rates]]
    assert inside.max() < errors.min() + found["best"]["worse"] + 0.004


def test_wrong_labels_raise_the_best_rate_as_the_formula_says(sweep, conf):
    rates, wrong = np.linspace(0, 0.9, 901), 0.2
    found = answer(sweep(conf, *LEAST_SQUARES, f"data.wrong={wrong}", "dropout=interval(0,0.9)"))
    clean, noisy = (
        rates[np.argmin([oracles.ridge(r, part) for r in rates])] for part in (0, wrong)
    )
    assert holds(found, noisy)
    assert clean + 0.05 < noisy and clean + 0.05 < found["best"]["point"]["dropout"]


def test_rate_that_does_nothing_has_no_winner(sweep, conf):
    found = answer(sweep(conf, "model=dead", "study.seeds=3", "study.confirm=true"))
    assert found["best"]["flat"] > 0.9
    assert found["best"]["ranges"]["dropout"]["islands"] == [[0, 0.8]]
    assert found["verdict"] == "no evidence" and found["use"] == {"dropout": 0.0}
    assert {trial["fit"]["label"] for trial in found["trials"]} == {None}


@pytest.mark.slow
def test_thousand_digits_overfit_without_dropout_and_underfit_with_too_much(sweep):
    found = answer(
        sweep(
            *["data.n_train=1000", "data.n_val=1000", "train.epochs=60", "model.width=256"],
            *["study.seeds=3", "study.confirm=true", "dropout=interval(0,0.95)"],
        )
    )
    best = found["best"]["point"]["dropout"]
    labels = {trial["params"]["dropout"]: trial["fit"]["label"] for trial in found["trials"]}
    assert labels[0.0] == "overfits" and labels[0.95] == "underfits"
    assert labels[min(labels, key=lambda rate: abs(rate - best))] is None
    assert found["verdict"] == "helps"


@pytest.mark.slow
def test_too_small_a_network_wants_no_dropout(sweep):
    found = answer(
        sweep(
            *["model.width=6", "data.n_train=3000", "data.n_val=900", "train.epochs=10"],
            *["study.seeds=3", "study.confirm=true"],
        )
    )
    assert found["use"] == {"dropout": 0.0} and found["verdict"] == "hurts"
    labels = {trial["params"]["dropout"]: trial["fit"]["label"] for trial in found["trials"]}
    assert labels[0.8] == "underfits"
