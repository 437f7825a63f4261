"""Which points a study proposes."""

import itertools
import json
import math

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from sweep.study.sampler import Zoom, van_der_corput_order, zoomed_levels
from tests.conftest import load_study


def middles(low, high, n):
    """Return the middles of n equal parts."""
    return pytest.approx([low + (high - low) * (i + 0.5) / n for i in range(n)], abs=5e-5)


@pytest.mark.parametrize(
    ("lowest", "first", "low", "high"),
    [
        (0.4, False, 0.3, 0.5),
        (0.2, False, 0.1, 0.3),  # the search goes on below
        (0.6, False, 0.5, 0.7),
        (0.2, True, 0.2, 0.3),
        (0.6, True, 0.5, 0.6),
    ],
)
def test_zoomed_levels_reach_a_level_further_where_a_later_generation_ends(
    lowest, first, low, high
):
    table = {rate: {0: abs(rate - lowest)} for rate in (0.2, 0.3, 0.4, 0.5, 0.6)}
    assert zoomed_levels(table, 0.0, 0.8, 5, first) == middles(low, high, 5)
    low, high = max(low, 0.15), min(high, 0.65)
    assert zoomed_levels(table, 0.15, 0.65, 5, first) == middles(low, high, 5)


def test_zoomed_levels_reach_to_what_was_pruned_and_no_further():
    table = {rate: {0: abs(rate - 0.3)} for rate in (0.0, 0.3, 0.7)}
    assert zoomed_levels(table, 0.0, 0.8, 4, False) == middles(0.0, 0.8, 4)
    assert zoomed_levels(table, 0.0, 0.8, 4, False, [0.2, 0.5]) == middles(0.2, 0.5, 4)
    del table[0.0], table[0.7]
    assert zoomed_levels(table, 0.0, 0.8, 4, False, [0.2, 0.4]) == middles(0.1, 0.5, 4)


def test_zoom_looks_between_the_neighbours_of_the_best_though_they_were_pruned():
    study = optuna.create_study(sampler=Zoom(8, "val_loss"))
    first, second = [], []
    for _ in range(8):
        first.append(study.ask({"dropout": FloatDistribution(0, 0.7)}))
    assert [t.params["dropout"] for t in first] == [0.0, 0.4, 0.2, 0.6, 0.1, 0.5, 0.3, 0.7]
    for trial in first:
        if (rate := trial.params["dropout"]) in (0.0, 0.4, 0.7):
            trial.set_user_attr("trained", {"seeds": [0], "val_loss": [abs(rate - 0.4)]})
            study.tell(trial, 0.0)
        else:
            study.tell(trial, state=TrialState.PRUNED)
    for _ in range(8):
        second.append(study.ask({"dropout": FloatDistribution(0, 0.7)}))
    assert sorted(t.params["dropout"] for t in second) == middles(0.3, 0.5, 8)


@pytest.mark.parametrize("n", [3, 6, 8, 11])
def test_any_beginning_of_a_generation_is_spread_over_its_range(n):
    places = [int(f"{number:032b}"[::-1], 2) for number in range(n)]  # its bits in reverse
    order = van_der_corput_order(n)
    assert order == [sorted(places).index(place) for place in places]
    for k in range(1, n + 1):
        gaps = np.diff([*sorted(order[:k]), n])
        assert max(gaps) < 2 * n / k  # twice what k even ones have


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
