"""Whether dropout is worth it, against Student's t, the signs, and many simulated confirmations."""

import math

import numpy as np
import pytest
from scipy import stats

from sweep.answer.gain import LOOKS, judge

SEEDS = [look.seeds for look in LOOKS]


def differences(n, mean):
    """Return n numbers of this mean, and an sd of 1."""
    found = np.linspace(-1, 1, n)
    return (mean + found / found.std(ddof=1)).tolist()


def gain(of_pairs, **kwargs):
    return judge("val_loss", [0.0] * len(of_pairs), of_pairs, **kwargs)


def test_gain_is_students_t():
    found = gain([0.3, 0.5, 0.1, 0.4, 0.2])
    low, high = stats.t.interval(1 - LOOKS[0].level, 4, 0.3, 0.025**0.5 / 5**0.5)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.value, found.seeds, found.metric) == (pytest.approx(0.3), 5, "val_loss")
    assert found.bound == pytest.approx(high)
    alone = gain([0.1])
    assert (alone.low, alone.bound, alone.verdict) == (None, None, "no evidence")


@pytest.mark.parametrize("look", LOOKS)
def test_verdict_falls_where_the_p_value_is_below_the_level_of_a_look(look):
    error = look.seeds**-0.5
    for p, verdicts in ((0.9, ("helps", "hurts")), (1.1, ("no evidence", "no evidence"))):
        mean = error * stats.t.isf(p * look.level / 2, look.seeds - 1)
        both = gain(differences(look.seeds, mean)), gain(differences(look.seeds, -mean))
        assert tuple(one.verdict for one in both) == verdicts
        assert [one.final for one in both] == [p < 1 or look is LOOKS[-1]] * 2


@pytest.mark.parametrize("look", LOOKS[:2])
def test_a_small_difference_ends_it_for_nothing(look):
    error = look.seeds**-0.5
    for t, final in ((0.95 * look.futile, True), (1.05 * look.futile, False)):
        found = gain(differences(look.seeds, t * error))
        assert (found.verdict, found.final) == ("no evidence", final)
        level = 0.05 if final else look.level
        assert found.high - found.value == pytest.approx(
            error * stats.t.isf(level / 2, look.seeds - 1)
        )


def test_what_diverged_is_worse_and_only_signs_count():
    lost = [math.nan, math.inf, math.nan]
    few = judge("val_loss", [0.0] * 5, [1.0, 1.0, *lost])
    assert (few.verdict, few.final, few.diverged) == ("no evidence", False, (0, 3))
    assert (few.value, few.seeds) == (1.0, 5)
    eight = judge("val_loss", [0.0] * 8, [1.0] * 5 + lost)
    assert stats.binomtest(8, 8).pvalue < LOOKS[1].level
    assert (eight.verdict, eight.final) == ("helps", True)
    assert judge("val_loss", [*lost, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0] * 8).verdict == "no evidence"
    assert judge("val_loss", [1.0] * 5 + lost, [0.0] * 8).verdict == "hurts"
    # of a t test five large differences and a divergence of both would be a clear case
    both = judge("val_loss", [*[0.0] * 4, math.nan], [*[9.0, 9.1, 9.2, 9.3], math.nan])
    assert (both.verdict, both.diverged) == ("no evidence", (1, 1))
    none = judge("val_loss", [math.nan] * 5, [math.nan] * 5)
    assert (none.value, none.low, none.verdict) == (None, None, "no evidence")


def test_what_is_not_tested_has_no_verdict():
    found = gain(differences(5, 9.0), tested=False)
    assert found.verdict is None and found.low > 0


def confirm_many(noise, effect=0.0):
    """Confirm rows of differences (n, 12); return verdicts, seeds and whether intervals cover."""
    verdicts, seeds, covered = [], [], []
    for row in noise + effect:
        found = next(g for n in SEEDS if (g := gain(row[:n].tolist())).final)
        verdicts.append(found.verdict)
        seeds.append(found.seeds)
        covered.append(found.low <= effect <= found.high)
    return verdicts, seeds, covered


def test_verdicts_intervals_and_seeds_of_many_confirmations():
    noise = np.random.default_rng(9).standard_normal((4000, SEEDS[-1]))
    verdicts, seeds, covered = confirm_many(noise)
    wrong = sum(verdict != "no evidence" for verdict in verdicts) / len(noise)
    assert wrong == pytest.approx(0.05, abs=0.014)  # four standard errors
    assert np.mean(seeds) == pytest.approx(7.4, abs=0.2) and np.mean(covered) > 0.94
    verdicts, seeds, covered = confirm_many(noise[:1500], effect=1.0)
    power = sum(verdict == "helps" for verdict in verdicts) / 1500
    assert power == pytest.approx(0.84, abs=0.04) and np.mean(covered) > 0.95


def test_levels_of_all_looks_together_are_wrong_in_one_of_twenty():
    n = 200_000
    noise = np.random.default_rng(9).standard_normal((n, SEEDS[-1]))
    running, wrong = np.ones(n, bool), np.zeros(n, bool)
    for look in LOOKS:
        test = stats.ttest_1samp(noise[:, : look.seeds], 0, axis=1)
        wrong |= running & (test.pvalue < look.level)
        running &= (test.pvalue >= look.level) & (abs(test.statistic) > look.futile)
    assert wrong.mean() == pytest.approx(0.05, abs=0.002)  # four standard errors
