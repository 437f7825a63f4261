"""Which rate is best, and which may be, on data whose truth is known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models.mlp import MLP
from sweep.answer import surface
from sweep.answer.best import OTHERS, Best, _at, best, candidates, unit
from sweep.command.space import Axis

RATE = Axis("dropout", low=0.0, high=0.8)


def trials(curve, rates, seeds, sd, rng, offset=0.0):
    luck = {seed: offset * rng.standard_normal() for seed in seeds}
    points = [{"dropout": float(rate)} for rate in rates]
    rows = [
        {seed: curve(rate) + luck[seed] + sd * rng.standard_normal() for seed in seeds}
        for rate in rates
    ]
    return points, rows


def valley(rate):
    return 0.1 + (rate - 0.3) ** 2


def test_noiseless_bowl_is_found():
    points, rows = trials(valley, np.linspace(0, 0.8, 9), [0, 1], 1e-3, np.random.default_rng(0))
    found = best(points, rows, [RATE])
    assert found.point == {"dropout": pytest.approx(0.3, abs=0.02)}
    range_ = found.ranges["dropout"]
    assert 0.22 < range_.low <= 0.3 <= range_.high < 0.38 and range_.edge is None
    assert found.flat < 1e-6
    curve = np.interp(0.4, found.rates, found.mean)
    assert curve == pytest.approx(valley(0.4), abs=2e-3)


def test_seeds_luck_is_taken_off():
    rng = np.random.default_rng(1)
    first = trials(valley, np.linspace(0, 0.8, 8), [0, 1, 2], 1e-3, rng)
    second = trials(valley, np.linspace(0.1, 0.5, 8), [1000, 1001, 1002], 1e-3, rng)
    lucky = [{seed: value - 0.05 for seed, value in row.items()} for row in second[1]]
    found = best(first[0] + second[0], first[1] + lucky, [RATE])
    offsets = found.offsets
    apart = np.mean([offsets[s] for s in (0, 1, 2)]) - np.mean([offsets[s] for s in (1000, 1001)])
    assert apart == pytest.approx(0.05, abs=5e-3)
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.03)


def test_wall_does_not_bend_the_answer():
    def walled(rate):
        return valley(rate) + (100 if rate > 0.65 else 0)

    points, rows = trials(walled, np.linspace(0, 0.8, 9), [0, 1, 2], 1e-3, np.random.default_rng(2))
    found = best(points, rows, [RATE])
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.05)
    assert max(found.rates) <= 0.65  # the curve ends before the wall


@pytest.mark.parametrize("rates", [[0.4012, 0.4015, 0.4019], [0.4012, 0.4012, 0.4012]])
def test_levels_closer_than_the_candidates_are_still_answered(rates):
    points = [{"dropout": rate} for rate in rates]
    found = best(points, [{0: 1.0}, {0: 1.1}, {0: 50.0}], [RATE])
    assert (found.ranges["dropout"].low, found.ranges["dropout"].high) == (0.0, 0.8)
    assert found.rates == [0.4]  # all that is shown of a curve that was heard at one place


def test_a_set_that_ends_at_the_search_says_so():
    points, rows = trials(
        lambda r: 1 - r, np.linspace(0, 0.8, 9), [0, 1], 0.01, np.random.default_rng(3)
    )
    found = best(points, rows, [RATE])
    assert found.ranges["dropout"].high == 0.8 and found.ranges["dropout"].edge == "high"
    rising = best(points, [{s: -v for s, v in row.items()} for row in rows], [RATE])
    assert rising.point["dropout"] == 0 and rising.ranges["dropout"].edge is None  # nothing below 0


def test_a_dead_knob_has_no_winner():
    rng = np.random.default_rng(4)
    found = [
        best(*trials(lambda r: 1.0, np.linspace(0, 0.8, 8), [0, 1, 2], 0.1, rng), [RATE])
        for _ in range(10)
    ]
    assert np.mean([f.flat for f in found]) > 0.5
    widths = [f.ranges["dropout"].high - f.ranges["dropout"].low for f in found]
    assert np.mean(widths) > 0.6


def test_rates_that_were_listed_are_the_only_candidates():
    axis = Axis("dropout", values=(0.0, 0.25, 0.5))
    points, rows = trials(valley, axis.values, [0, 1], 1e-4, np.random.default_rng(5))
    found = best(points, rows, [axis])
    assert found.point == {"dropout": 0.25} and found.rates == [0.0, 0.25, 0.5]


def test_what_failed_of_a_list_is_no_candidate():
    axis = Axis("dropout", values=(0.0, 0.25, 0.5, 0.75))
    points = [{"dropout": 0.25}, {"dropout": 0.5}]
    rows, failed = [{0: 1.0, 1: 1.1}, {0: 1.0, 1: 1.11}], [{"dropout": 0.0}, {"dropout": 0.75}]
    found = best(points, rows, [axis], failed=failed)
    assert (found.rates, found.ranges["dropout"].values) == ([0.25, 0.5], [0.25, 0.5])
    assert found.point == {"dropout": 0.25} and found.ranges["dropout"].edge is None
    again = best([*points, failed[0]], [*rows, {0: 1.0, 1: 1.105}], [axis], failed=failed)
    assert again.rates == [0.0, 0.25, 0.5]  # a rate that failed once and was trained once


def test_a_set_ends_half_way_to_what_failed():
    rates, rng = np.linspace(0.1, 0.7, 7), np.random.default_rng(3)
    for sign, edge in ((-1, "high"), (1, "low")):
        points, rows = trials(lambda r, s=sign: 1 + s * r / 10, rates, [0, 1], 0.03, rng)
        failed = [{"dropout": 0.0}, {"dropout": 0.8}]
        found = best(points, rows, [RATE], failed=failed)
        assert (min(found.rates), max(found.rates)) == (0.05, 0.75)
        assert found.ranges["dropout"].edge is None
        assert getattr(found.ranges["dropout"], edge) == (0.75 if edge == "high" else 0.05)
    failed = [{"dropout": 0.401}, {"dropout": 0.404}]
    near = best([{"dropout": 0.402}], [{0: 1.0}], [RATE], failed=failed)
    assert near.point == {"dropout": 0.4}


def test_of_several_numbers_only_what_failed_together_is_left_out():
    axes = [Axis("dropout", values=(0.0, 0.5)), Axis("model.width", values=(8, 64))]
    points = [{"dropout": 0.0, "model.width": 8}, {"dropout": 0.0, "model.width": 64}]
    points.append({"dropout": 0.5, "model.width": 8})
    rows = [{0: 1.0, 1: 1.1}, {0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}]
    failed = [{"dropout": 0.5, "model.width": 64}]
    found = best(points, rows, axes, failed=failed)
    assert found.point in points[1:] and found.rates == [0.0, 0.5]
    lr = Axis("train.lr", low=1e-4, high=1e-2, log=True)
    points = [{"dropout": 0.0, "train.lr": 1e-3}, {"dropout": 0.0, "train.lr": 2e-3}]
    failed = [{"dropout": 0.5, "train.lr": 1e-4}]
    found = best(points, rows[:2], [axes[0], lr], failed=failed)
    assert found.rates == [0.0] and found.point["dropout"] == 0


@pytest.mark.parametrize(
    ("search", "fails", "trained"),
    [
        (["dropout=0.0,0.2,0.6,0.7"], lambda rate: rate > 0.55, [0.0, 0.2]),
        (["dropout=0.0,0.2,0.6"], lambda rate: rate < 0.1, [0.2, 0.6]),
        (["sampler=random", "study.n_trials=3"], lambda rate: rate < 0.1, None),
    ],
)
def test_a_rate_that_failed_is_nowhere_in_the_answer(sweep, monkeypatch, search, fails, trained):
    real = MLP.__init__

    def broken(self, config):
        if fails(config.dropout) and Path("runs").exists():  # while it is trained, not checked
            raise ArithmeticError("no luck")
        real(self, config)

    monkeypatch.setattr(MLP, "__init__", broken)
    folder = sweep(*search, "study.confirm=true", "train.epochs=1", "study.seeds=1")
    answer = json.loads((folder / "answer.json").read_text())
    found, curve = answer["best"]["dropout"], answer["best"]["curve"]["rate"]
    assert not any(map(fails, [found["value"], found["low"], found["high"], *curve]))
    if trained is None:  # an interval
        assert found["values"] is None and len(curve) > 10
    else:
        assert curve == trained and set(found["values"]) <= set(trained)
    report = (folder / "report.md").read_text()
    assert "0.7, is among the best" not in report and answer["confirmation"]
    if fails(0):
        assert (answer["baseline"], answer["verdict"]) == (None, None)
        assert "not compared with no dropout: it failed" in report
    else:
        assert answer["baseline"] is not None


def test_one_trial_is_the_best():
    found = best([{"dropout": 0.3}], [{0: 0.1}], [Axis("dropout", values=(0.3,))])
    assert isinstance(found, Best) and found.point == {"dropout": 0.3}


def test_tables_may_have_holes():
    points, rows = trials(valley, np.linspace(0, 0.8, 9), [0, 1, 2], 0.01, np.random.default_rng(6))
    del rows[2][1], rows[5][0]
    rows[3][7] = valley(points[3]["dropout"])
    assert best(points, rows, [RATE]).point["dropout"] == pytest.approx(0.3, abs=0.08)


def test_best_of_two_searched_numbers_has_the_rest_at_its_best():
    rng = np.random.default_rng(7)
    lr = Axis("train.lr", low=1e-4, high=1e-2, log=True)
    points = [
        {"dropout": float(rng.uniform(0, 0.8)), "train.lr": float(10 ** rng.uniform(-4, -2))}
        for _ in range(40)
    ]

    def loss(point):  # best at 0.3 and 1e-3
        return valley(point["dropout"]) + 0.1 * (math.log10(point["train.lr"]) + 3) ** 2

    rows = [{0: loss(p) + 0.003 * rng.standard_normal()} for p in points]
    found = best(points, rows, [RATE, lr])
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.08)
    assert found.point["train.lr"] == pytest.approx(1e-3, rel=0.6)
    assert found.ranges["train.lr"].low > 2e-4 and found.ranges["train.lr"].high < 6e-3


DECADES = Axis("train.lr", low=1e-4, high=1e-2, log=True)
DOUBLINGS = Axis("model.width", low=8, high=128, log=True)
WIDTHS = Axis("model.width", low=8, high=64)


@pytest.mark.parametrize(
    ("axis", "tried", "places"),
    [
        (RATE, [0.0, 0.2, 0.6, 0.8], [0, 0.25, 0.75, 1]),
        (DECADES, [1e-4, 1e-3, 1e-2], [0, 0.5, 1]),
        (WIDTHS, [8, 15, 36, 64], [0, 0.125, 0.5, 1]),
        (DOUBLINGS, [8, 16, 32, 64, 128], [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_at_a_place_lies_the_number_that_is_placed_there(axis, tried, places):
    assert [unit(axis, value) for value in tried] == pytest.approx(places)
    found = [_at(axis, place) for place in places]
    assert found == pytest.approx(tried)
    assert {type(value) for value in found} == {type(axis.low)}
    whole = isinstance(axis.low, int)
    values = range(axis.low, axis.high + 1) if whole else np.linspace(axis.low, axis.high, 50)
    assert [_at(axis, unit(axis, value)) for value in values] == pytest.approx(list(values))


def test_listed_values_share_the_places_evenly():
    axis = Axis("model.width", values=(64, 8, 16))
    assert [_at(axis, place) for place in np.linspace(0, 1, 13)] == [64] * 4 + [8] * 4 + [16] * 5


def test_what_is_searched_beside_the_rate_is_tried_evenly_at_each_rate():
    chosen = candidates([RATE, DECADES, WIDTHS], [])
    for rate in (0.0, 0.4, 0.8):
        rests = [choice for choice in chosen if choice["dropout"] == rate]
        quarters = [int(2 * math.log10(rest["train.lr"] / 1e-4)) for rest in rests]
        assert [quarters.count(i) for i in range(4)] == [OTHERS // 4] * 4
        below = sum(rest["model.width"] < 36 for rest in rests)
        assert abs(below - OTHERS / 2) <= 1 and len(rests) == OTHERS


@pytest.mark.parametrize("curve", ["U", "rising", "sharp"])
def test_answer_on_simulated_curves(curve):
    """A few studies of scripts/simulate.py: the set covers, the regret stays small."""
    from scripts.simulate import LEVELS, study

    found = [study(curve, "mix", "medium", rep, rival=False) for rep in range(12)]
    assert np.mean([f.covered for f in found]) >= 0.9
    assert np.mean([f.regret for f in found]) < 0.1 * LEVELS["medium"]
    verdicts = [f.verdict for f in found]
    if curve == "rising":  # dropout only costs
        assert "helps" not in verdicts and verdicts.count("no dropout") >= 6
    else:
        assert set(verdicts) == {"helps"}


def test_many_trials_are_thinned_and_give_the_same_answer(monkeypatch):
    sizes, fitted = [], surface.fit
    monkeypatch.setattr("sweep.answer.best.MOST", 300)
    monkeypatch.setattr(
        "sweep.answer.best.fit", lambda x, *more: sizes.append(len(x)) or fitted(x, *more)
    )
    rng = np.random.default_rng(0)
    rates = rng.uniform(0, 0.8, 3000).round(4).tolist()
    rows = [{7: (rate - 0.3) ** 2 + rng.normal(0, 0.005)} for rate in rates]
    found = best([{"dropout": rate} for rate in rates], rows, [RATE])
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.02)
    assert 100 < max(sizes) <= 300
