"""Which rate is best, and which may be, on data whose truth is known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models.mlp import MLP
from sweep.answer import surface
from sweep.answer.best import Best, Range, find_best
from sweep.answer.choices import choices_along, rejected_points, unit
from sweep.answer.variance import paired_noise
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


def best(points, rows, axes, lost=()):
    return find_best(points, rows, axes, lost)[0]


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
    rows = first[1] + lucky
    found, smoother = find_best(first[0] + second[0], rows, [RATE])
    offsets = smoother.offsets(rows)
    apart = np.mean([offsets[s] for s in (0, 1, 2)]) - np.mean([offsets[s] for s in (1000, 1001)])
    assert apart == pytest.approx(0.05, abs=5e-3)
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.05)


def test_the_same_weights_fit_every_metric_so_the_parts_add_up():
    rng = np.random.default_rng(1)
    points, val = trials(valley, np.linspace(0, 0.8, 9), [0, 1], 0.01, rng)
    train = [{seed: rng.standard_normal() for seed in row} for row in val]
    gap = [{s: one[s] - other[s] for s in one} for one, other in zip(val, train, strict=True)]
    found, smoother = find_best(points, val, [RATE])
    parts = smoother.over_rates(train) + smoother.over_rates(gap)
    np.testing.assert_allclose(parts, np.array(found.mean) - min(found.mean), atol=1e-12)
    both = [smoother.offsets(rows) for rows in (train, gap)]
    for seed, offset in smoother.offsets(val).items():
        assert offset == pytest.approx(both[0][seed] + both[1][seed])


def test_wall_does_not_bend_the_answer():
    def walled(rate):
        return valley(rate) + (100 if rate > 0.65 else 0)

    points, rows = trials(walled, np.linspace(0, 0.8, 9), [0, 1, 2], 1e-3, np.random.default_rng(2))
    found = best(points, rows, [RATE])
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.05)
    assert found.ranges["dropout"].low > 0.15 and found.ranges["dropout"].high < 0.45
    assert np.interp([0.1, 0.5], found.rates, found.mean) == pytest.approx(
        [valley(0.1), valley(0.5)], abs=0.02
    )


@pytest.mark.parametrize("rates", [[0.4012, 0.4015, 0.4019], [0.4012, 0.4012, 0.4012]])
def test_levels_closer_than_the_candidates_are_still_answered(rates):
    points = [{"dropout": rate} for rate in rates]
    found = best(points, [{0: 1.0}, {0: 1.1}, {0: 50.0}], [RATE])
    assert (found.ranges["dropout"].low, found.ranges["dropout"].high) == (0.0, 0.8)


@pytest.mark.parametrize(
    ("rates", "means", "sd", "good"),
    [
        ((0.0, 0.1, 0.2, 0.5), (0.545, 0.5396, 0.545, 0.747), 0.01, (0.0, 0.1, 0.2)),
        ((0.0, 0.5), (1.17, 1.42), 0.026, (0.0,)),
        ((0.1, 0.3, 0.5), (1.0, 0.5, 1.0), 0.02, (0.3,)),
    ],
)
def test_a_clear_loser_of_a_short_list_is_told_apart(rates, means, sd, good):
    axis, rng = Axis("dropout", values=rates), np.random.default_rng(0)
    for _ in range(5):
        rows = [{s: m + sd * rng.standard_normal() for s in range(3)} for m in means]
        found = best([{"dropout": rate} for rate in rates], rows, [axis])
        assert set(found.ranges["dropout"].values) <= set(good)
        assert found.point["dropout"] in good and found.flat < 0.1


def test_two_wells_are_two_islands():
    def wells(rate):
        return 25 * min(abs(rate - 0.2), abs(rate - 0.6)) ** 2

    rng = np.random.default_rng(0)
    points, rows = trials(wells, np.linspace(0, 0.8, 9), [0, 1, 2], 0.03, rng)
    range_ = best(points, rows, [RATE]).ranges["dropout"]
    (low, high), (low_again, high_again) = range_.islands
    assert low < 0.2 < high < 0.4 < low_again < 0.6 < high_again
    assert range_.holds(0.2) and range_.holds(0.6) and not range_.holds(0.4)
    assert (range_.low, range_.high) == (low, high_again)


def test_noise_that_grows_with_the_rate_is_seen():
    """At high rates one lucky level must not win, and what is known of low ones is not blurred."""
    regrets, widths = [], []
    for rep in range(10):
        rng = np.random.default_rng(rep)
        rates = np.linspace(0, 0.8, 9)
        rows = [
            {s: valley(r) + 0.004 * 40 ** (r / 0.8) * rng.standard_normal() for s in (0, 1)}
            for r in rates
        ]
        found = best([{"dropout": float(r)} for r in rates], rows, [RATE])
        regrets.append(valley(found.point["dropout"]) - valley(0.3))
        widths.append(found.ranges["dropout"].holds(0.0))
    assert np.mean(regrets) < 0.02 and np.mean(widths) < 0.5


def test_a_level_that_its_own_seeds_reject_is_not_in_the_set():
    points = [{"dropout": rate} for rate in (0.0, 0.2, 0.4, 0.6)]
    luck, wiggle = np.array([0.0, 5.0, -3.0]), np.array([0.01, -0.01, 0.0])
    rows = [
        dict(enumerate((mean + luck + sign * wiggle).tolist()))
        for mean, sign in ((1.0, 1), (1.0, -1), (1.02, 1), (1.5, -1))
    ]
    assert rejected_points(points, rows) == [{"dropout": 0.6}]
    assert rejected_points(points, [{0: 1.0}, {0: 2.0}, {0: 3.0}, {0: 9.0}]) == []
    others = [{seed + 9: value for seed, value in row.items()} for row in rows]
    assert rejected_points(points * 2, rows + others) == [{"dropout": 0.6}] * 2


def test_what_rounding_makes_of_equal_levels_is_no_noise():
    first, second = 2 / 114, 1 / 114  # of an error, two rates of which are equal, seed by seed
    rows = [{0: first, 1: second}, {0: first, 1: second}, {0: first, 1: first}]
    points = [{"dropout": rate} for rate in (0.0, 0.5, 0.3)]
    assert rejected_points(points, rows) == []
    assert paired_noise([{0: 0.1, 1: 0.3}, {0: 0.2, 1: 0.4}]) == 0
    assert paired_noise([{0: 1e-9, 1: 3e-9}, {0: 2e-9, 1: 3e-9}]) == pytest.approx(5e-10)


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
    found = best(points, rows, [axis], lost=failed)
    assert (found.rates, found.ranges["dropout"].values) == ([0.25, 0.5], (0.25, 0.5))
    assert found.point == {"dropout": 0.25} and found.ranges["dropout"].edge is None
    again = best([*points, failed[0]], [*rows, {0: 1.0, 1: 1.105}], [axis], lost=failed)
    assert again.rates == [0.0, 0.25, 0.5]  # a rate that failed once and was trained once


def test_a_set_ends_half_way_to_what_failed():
    rates, rng = np.linspace(0.1, 0.7, 7), np.random.default_rng(3)
    for sign, edge in ((-1, "high"), (1, "low")):
        points, rows = trials(lambda r, s=sign: 1 + s * r / 10, rates, [0, 1], 0.03, rng)
        failed = [{"dropout": 0.0}, {"dropout": 0.8}]
        found = best(points, rows, [RATE], lost=failed)
        assert (min(found.rates), max(found.rates)) == (0.05, 0.75)
        assert found.ranges["dropout"].edge is None
        assert getattr(found.ranges["dropout"], edge) == (0.75 if edge == "high" else 0.05)
    failed = [{"dropout": 0.401}, {"dropout": 0.404}]
    near = best([{"dropout": 0.402}], [{0: 1.0}], [RATE], lost=failed)
    assert near.point == {"dropout": 0.402}


def test_of_several_numbers_only_what_failed_together_is_left_out():
    axes = [Axis("dropout", values=(0.0, 0.5)), Axis("model.width", values=(8, 64))]
    points = [{"dropout": 0.0, "model.width": 8}, {"dropout": 0.0, "model.width": 64}]
    points.append({"dropout": 0.5, "model.width": 8})
    rows = [{0: 1.0, 1: 1.1}, {0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}]
    failed = [{"dropout": 0.5, "model.width": 64}]
    found = best(points, rows, axes, lost=failed)
    assert found.point in points[1:]
    rest = found.point["model.width"]  # the curve is that beside the best point
    assert found.rates == ([0.0] if rest == 64 else [0.0, 0.5])
    lr = Axis("train.lr", low=1e-4, high=1e-2, log=True)
    points = [{"dropout": 0.0, "train.lr": 1e-3}, {"dropout": 0.0, "train.lr": 2e-3}]
    failed = [{"dropout": 0.5, "train.lr": 1e-4}]
    found = best(points, rows[:2], [axes[0], lr], lost=failed)
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
    found, curve = answer["best"]["ranges"]["dropout"], answer["best"]["rates"]
    ends = [end for island in found["islands"] for end in island]
    assert not any(map(fails, [answer["best"]["point"]["dropout"], *ends, *curve]))
    if trained is None:  # an interval
        assert found["values"] is None and len(curve) > 10
    else:
        assert curve == trained and set(found["values"]) <= set(trained)
    report = (folder / "report.md").read_text()
    assert "0.7, is among the best" not in report and answer["confirmation"]
    if fails(0):
        assert (answer["opponent"], answer["verdict"]) == (None, None)
        assert "not compared with no dropout: it failed" in report
    else:
        assert answer["opponent"] is not None


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
def test_places_are_parts_of_the_axis(axis, tried, places):
    assert [unit(axis, value) for value in tried] == pytest.approx(places)


def test_choices_along_an_axis_leave_the_rest_as_it_is():
    point = {"dropout": 0.3, "train.lr": 1e-3}
    rates = [choice["dropout"] for choice in choices_along(RATE, point, [point])]
    assert rates == [round(0.01 * i, 2) for i in range(81)]
    odd = [c["dropout"] for c in choices_along(Axis("dropout", low=0.105, high=0.5), point, [])]
    assert (odd[0], odd[1], odd[-1]) == (0.105, 0.11, 0.5)
    narrow = choices_along(Axis("dropout", low=0.1, high=0.2), point, [point])
    assert len(narrow) == 33 and narrow[-1] == {"dropout": 0.2, "train.lr": 1e-3}
    rates = [choice["train.lr"] for choice in choices_along(DECADES, point, [point])]
    assert rates[0] == 1e-4 and rates[16] == pytest.approx(1e-3) and rates[-1] == 1e-2
    widths = [c["model.width"] for c in choices_along(WIDTHS, {"model.width": 8}, [])]
    assert widths == sorted(set(widths)) and {type(width) for width in widths} == {int}
    listed = Axis("model.width", values=(64, 8, 16))
    tried = [{"model.width": width} for width in (8, 64)]
    assert choices_along(listed, tried[0], tried) == tried


def test_ends_of_islands_and_of_the_search():
    range_ = Range(((0.0, 0.1), (0.5, 0.5)), None, None)
    assert [range_.holds(rate) for rate in (0.05, 0.3, 0.5)] == [True, False, True]
    assert (range_.low, range_.high) == (0.0, 0.5)


@pytest.mark.parametrize("curve", ["bell", "wells", "realwall", "flat"])
def test_answer_on_simulated_curves(curve):
    """A few studies of scripts/simulate.py: the set covers and is no wider than it need be."""
    from scripts.simulate import study

    found = [study((curve, "mix", 0.3), (14, 9, 2), rep) for rep in range(16)]
    assert np.mean([f.covered for f in found]) >= 0.85
    widths = {"bell": (0.2, 0.4), "wells": (0.2, 0.45), "realwall": (0.2, 0.45), "flat": (0.6, 0.8)}
    low, high = widths[curve]
    assert low < np.mean([f.width for f in found]) <= high
    assert np.mean([f.regret for f in found]) < 0.15 * 0.3
    verdicts = [f.verdict for f in found]
    if curve in ("bell", "wells"):
        assert set(verdicts) == {"helps"}
    if curve == "flat":
        assert verdicts.count("no evidence") >= 13


def test_many_trials_are_thinned_and_give_the_same_answer(monkeypatch):
    sizes, fitted = [], surface.fit
    monkeypatch.setattr("sweep.answer.best.MOST", 300)
    monkeypatch.setattr(
        "sweep.answer.best.fit", lambda at, y, *more: sizes.append(len(y)) or fitted(at, y, *more)
    )
    rng = np.random.default_rng(0)
    rates = rng.uniform(0, 0.8, 3000).round(4).tolist()
    rows = [{7: (rate - 0.3) ** 2 + rng.normal(0, 0.005)} for rate in rates]
    found = best([{"dropout": rate} for rate in rates], rows, [RATE])
    assert found.point["dropout"] == pytest.approx(0.3, abs=0.02)
    assert 100 < max(sizes) <= 300
