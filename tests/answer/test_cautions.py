"""How often a warning is a false alarm, and that it speaks where there is something."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sweep.answer import cautions
from sweep.answer.best import Range, find_best
from sweep.answer.confirmation import Confirmation, Confirmed
from sweep.answer.curve import over_time
from sweep.answer.gain import Gain
from sweep.answer.row import Row, measured
from sweep.command.space import Axis

RATE = Axis("dropout", low=0.0, high=0.8)
RATES, SEEDS = np.linspace(0, 0.8, 9), (0, 1)


def findings(rows, axis=RATE):
    by_seed = [row.by_seed("val_loss") for row in rows]
    best, _ = find_best([row.params for row in rows], by_seed, [axis])
    return SimpleNamespace(rows=rows, best=best, axes=(axis,), metric="val_loss")


def row(rate, curve, number=0):
    """Return a row whose validation losses over the epochs are a curve (epochs, seeds)."""
    time = over_time(curve.tolist())
    return Row(
        {"dropout": float(rate)}, number, seeds=SEEDS, metrics={"val_loss": measured(curve[-1])},
        lowest_epoch=time.lowest_epoch, end_slopes=tuple(time.end_slopes),
        half_slopes=tuple(time.half_slopes),
    )  # fmt: skip


def studies(n, shape, epochs=20, noise=0.1, offset=0.3, growth=1.0):
    """Yield the rows of studies; shape (rates, epochs) is what all their seeds have in common."""
    for rep in range(n):
        rng = np.random.default_rng(rep)
        luck = offset * rng.standard_normal(len(SEEDS))
        rows = []
        for i, rate in enumerate(RATES):
            sd = noise * growth ** (rate / 0.8)
            wiggle = sd * rng.standard_normal((epochs, len(SEEDS)))
            rows.append(row(rate, shape[i][:, None] + luck + wiggle, i))
        yield rows


def flat(epochs=20):
    return np.ones((len(RATES), epochs))


def bowl(by_epoch=0.0):
    return flat() + by_epoch + (RATES[:, None] - 0.4) ** 2


def test_false_alarms_of_what_has_converged():
    found = [findings(rows) for rows in studies(150, flat())]
    edges = [list(cautions._of_the_edge(one, None)) for one in found]
    budgets = [list(cautions._of_the_budget(one, 20)) for one in found]
    spreads = [list(cautions._of_the_spread(one.rows)) for one in found]
    for lines, most in ((edges, 0.02), (budgets, 0.05), (spreads, 0.02)):  # of budgets there are 3
        assert np.mean([bool(of_study) for of_study in lines]) <= most


@pytest.mark.parametrize("n_seeds", [2, 4, 8])
def test_a_test_of_slopes_has_its_level(n_seeds):
    noise = np.random.default_rng(1).standard_normal((20_000, n_seeds))
    alarms = np.mean([cautions.clearly_above_zero(values) for values in noise.tolist()])
    assert alarms == pytest.approx(cautions.LEVEL, abs=0.003)
    assert not cautions.clearly_above_zero([1.0]) and not cautions.clearly_above_zero([1.0, 1.0])


def test_what_falls_or_rises_clearly_is_spoken_of():
    (rows,) = studies(1, bowl(np.linspace(3, 0, 20)), noise=0.001)
    first, *_ = cautions._of_the_budget(findings(rows), 20)
    assert "was still falling at the last epoch" in first and "train.epochs=40" in first
    (rows,) = studies(1, bowl(0.5 * np.abs(np.linspace(-1, 1, 20))), noise=0.001)
    assert "it overfits in time" in next(iter(cautions._of_the_budget(findings(rows), 20)))
    only_zero = bowl()
    only_zero[0] += np.linspace(3, 0, 20)
    (rows,) = studies(1, only_zero, noise=0.001)
    (line,) = cautions._of_the_budget(findings(rows), 20)
    assert line.startswith("without dropout the validation loss was still falling")


def test_the_best_at_a_bound_is_spoken_of():
    (rows,) = studies(1, flat() - RATES[:, None], noise=0.01)
    (line,) = cautions._of_the_edge(findings(rows), None)
    assert line == "the highest dropout searched, 0.8, is among the best: search further"
    (rows,) = studies(1, flat() + RATES[:, None], noise=0.01)
    assert not list(cautions._of_the_edge(findings(rows), None))  # there is nothing below 0


def test_a_bound_that_is_confirmed_is_spoken_of_though_the_search_sees_nothing():
    (rows,) = studies(1, flat(), noise=0.01)
    found = findings(rows)
    ranges = {"dropout": Range(((0.0, 0.8),), "high", None)}
    found.best = replace(found.best, point={"dropout": 0.8}, flat=0.9, ranges=ranges)
    for verdict, n_lines in (("helps", 1), ("no evidence", 0), ("hurts", 0)):
        gain = Gain("val_loss", 0.02, 0.01, 0.03, 5, verdict, True)
        confirmation = Confirmation((1000,), None, None, (gain,), None)
        assert len(list(cautions._of_the_edge(found, confirmation))) == n_lines, verdict


def test_a_network_that_learned_nothing_is_spoken_of():
    (rows,) = studies(1, flat(), noise=0.01, offset=0.0)
    (line,) = cautions._of_learning(findings(rows), {"val_loss": 1.0})
    assert "has hardly learned" in line and "constant guess 1;" in line
    assert not list(cautions._of_learning(findings(rows), {"val_loss": 2.0}))
    assert not list(cautions._of_learning(findings(rows), None))


def test_spread_that_grows_with_the_rate_is_spoken_of():
    (rows,) = studies(1, flat(), offset=0.0, growth=1e4)
    (line,) = cautions._of_the_spread(rows)
    assert "seeds differ more at high rates" in line


def test_a_promise_that_was_not_kept_is_spoken_of():
    (rows,) = studies(1, bowl(), noise=0.01, offset=0.0)
    found = findings(rows)
    for apart, told in ((0.0, 0), (1.0, 1)):
        mean = found.best.promised[0] + apart
        chosen = Confirmed(found.best.point, {"val_loss": measured([mean - 0.01, mean + 0.01])})
        confirmed = Confirmation((5, 6), chosen, None, (), None)
        assert len(list(cautions._of_the_promise(found, confirmed))) == told
    moved = replace(confirmed, chosen=replace(chosen, params={"dropout": 0.77}))
    assert not list(cautions._of_the_promise(found, moved))
