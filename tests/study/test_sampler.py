"""Which points a study proposes."""

import itertools
import json
import math

import pytest

from tests.conftest import load_study


def test_default_search_is_even_levels_and_then_finer_ones(sweep):
    folder = sweep("study.n_trials=12", "study.generation=6")
    trials = load_study(folder).trials
    first = sorted(t.params["dropout"] for t in trials[:6])
    assert first == [0.0, 0.16, 0.32, 0.48, 0.64, 0.8]
    second = sorted(t.params["dropout"] for t in trials[6:])
    steps = {round(b - a, 3) for a, b in itertools.pairwise(second)}
    assert len(set(second)) == 6 and max(steps) - min(steps) < 2e-3 and max(steps) < 0.16
    assert trials[0].user_attrs["seeds"] == [0, 1] and trials[6].user_attrs["seeds"] == [1000, 1001]


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
    widths = [{t["params"]["model.width"] for t in job["work"]["trials"]} for job in jobs]
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


def test_log_search_beside_a_baseline_that_has_no_logarithm(sweep):
    folder = sweep("dropout=tag(log,interval(0.01,0.5))", "study.n_trials=4", "study.generation=4")
    assert [t.params["dropout"] for t in load_study(folder).trials][:2] == [0.01, 0.1357]
    assert len(load_study(folder).user_attrs["baselines:0"]) == 1
