"""Which points a study proposes."""

import json
import math

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from sweep.answer.levels import even_levels, zoomed_levels
from sweep.command.space import Axis
from sweep.study.sampler import Proposer, Zoom
from tests.conftest import load_study

RATE = Axis("dropout", low=0.0, high=0.8)


def table(axis, rates, lowest):
    points = [{axis.key: rate} for rate in rates]
    return points, [{0: abs(rate - lowest), 1: abs(rate - lowest) + 1e-3} for rate in rates]


@pytest.mark.parametrize("lowest", [0.1, 0.4, 0.7])
def test_finer_levels_surround_the_best_and_zero_is_among_them(lowest):
    points, rows = table(RATE, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], lowest)
    zero, *levels = zoomed_levels(points, rows, RATE, 9)
    assert zero == 0 and len(set(levels)) == 8
    assert min(levels) < lowest < max(levels) and max(levels) - min(levels) < 0.3
    assert all(round(level, 2) == level for level in levels)
    assert not {point["dropout"] for point in points} & set(levels)
    assert zoomed_levels(points, rows, RATE, 9) == [zero, *levels]


def test_a_generation_of_one_or_two_is_spent_on_new_rates():
    points, rows = table(RATE, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 0.4)
    for n in (1, 2):
        levels = zoomed_levels(points, rows, RATE, n)
        assert len(set(levels)) == n and all(0.3 < level < 0.5 for level in levels)


def test_finer_levels_leave_out_what_was_lost():
    points, rows = table(RATE, [0.0, 0.2, 0.4], 0.4)
    levels = zoomed_levels(points, rows, RATE, 6, lost=[{"dropout": 0.6}, {"dropout": 0.8}])
    assert max(levels) <= 0.5


def test_levels_of_narrow_and_of_logarithmic_searches():
    assert sorted(even_levels(0.1, 0.15, 3)) == [0.1, 0.125, 0.15]
    narrow = Axis("dropout", low=0.1, high=0.15)
    levels = zoomed_levels(*table(narrow, [0.1, 0.125, 0.15], 0.125), narrow, 3)
    assert len(set(levels)) == 3 and all(0.1 <= level <= 0.15 for level in levels)
    log = Axis("dropout", low=0.01, high=0.5, log=True)
    assert sorted(even_levels(0.01, 0.5, 3, log=True)) == [0.01, 0.0707, 0.5]
    levels = zoomed_levels(*table(log, [0.01, 0.0707, 0.5], 0.0707), log, 4)
    assert len(set(levels)) == 4 and min(levels) < 0.0707 < max(levels)


def test_zoom_asks_for_even_levels_and_then_around_the_best_though_others_were_pruned():
    study = optuna.create_study(sampler=Zoom(Axis("dropout", low=0.0, high=0.7), 8, "val_loss"))
    first = [study.ask({"dropout": FloatDistribution(0, 0.7)}) for _ in range(8)]
    assert [t.params["dropout"] for t in first] == [0.0, 0.4, 0.2, 0.6, 0.1, 0.5, 0.3, 0.7]
    for trial in first:
        if (rate := trial.params["dropout"]) in (0.0, 0.3, 0.4, 0.5):
            values = [abs(rate - 0.4), abs(rate - 0.4) + 1e-3]
            trial.set_user_attr("trained", {"seeds": [0, 1], "val_loss": values})
            study.tell(trial, 0.0)
        else:
            study.tell(trial, state=TrialState.PRUNED)
    second = [study.ask({"dropout": FloatDistribution(0, 0.7)}) for _ in range(8)]
    zero, *others = (t.params["dropout"] for t in second)
    assert zero == 0 and all(0.3 <= rate <= 0.5 for rate in others)


@pytest.mark.parametrize("n", [3, 6, 8, 11])
def test_any_beginning_of_a_generation_is_spread_over_its_range(n):
    places = [int(f"{number:032b}"[::-1], 2) for number in range(n)]  # its bits in reverse
    order = [round(level) for level in even_levels(0, n - 1, n)]
    assert order == [sorted(places).index(place) for place in places]
    for k in range(1, n + 1):
        gaps = np.diff([*sorted(order[:k]), n])
        assert max(gaps) < 2 * n / k  # twice what k even ones have


def test_default_search_is_even_levels_and_then_finer_ones(sweep):
    folder = sweep("study.n_trials=12", "study.generation=6")
    trials = load_study(folder).trials
    first = sorted(t.params["dropout"] for t in trials[:6])
    assert first == [0.0, 0.16, 0.32, 0.48, 0.64, 0.8]
    zero, *second = (t.params["dropout"] for t in trials[6:])
    assert zero == 0 and len(set(second)) == 5 and not set(second) & set(first)
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


def test_a_resumed_study_proposes_from_what_it_would_have_seen_and_holds_no_reports(
    sweep, monkeypatch
):
    proposers = []

    class Seen(Proposer):
        def __init__(self, plan):
            super().__init__(plan)
            proposers.append(self)

    monkeypatch.setattr("sweep.study.study.Proposer", Seen)
    halved = "study.n_trials=4", "study.generation=4", "study.prune=halving", "train.epochs=4"
    sweep(*halved)
    sweep(*halved)
    told, replayed = (
        [
            (t.params, t.state, t.value, t.intermediate_values, t.user_attrs)
            for t in one.study.trials
        ]
        for one in proposers
    )
    assert told == replayed
    states = [state for _, state, *_ in told]
    assert {TrialState.COMPLETE, TrialState.PRUNED} == set(states)
    assert all(len(values) == 1 for *_, values, _ in told)
    held = {tuple(sorted(attrs.get("trained", ()))) for *_, attrs in told}
    assert held == {("seeds", "val_loss"), ()}
