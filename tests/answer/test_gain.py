"""Whether dropout is worth it, against Student's t and its power."""

import numpy as np
import pytest
from scipy import stats

from sweep.answer.gain import LOOK_LEVEL, LOOKS, gain


def differences(n, mean):
    """Return n numbers of this mean, and an sd of 1."""
    found = np.linspace(-1, 1, n)
    return (mean + found / found.std(ddof=1)).tolist()


def test_gain_is_students_t():
    found = gain([0.3, 0.5, 0.1, 0.4, 0.2])
    low, high = stats.t.interval(1 - LOOK_LEVEL, 4, 0.3, 0.025**0.5 / 5**0.5)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.value, found.seeds) == (pytest.approx(0.3), 5)
    assert gain([0.1]).low is None and gain([0.1]).verdict == "no evidence"


@pytest.mark.parametrize("n", LOOKS)
def test_verdict_falls_where_the_p_value_is_below_the_level_of_a_look(n):
    error = n**-0.5
    for p, verdicts in ((0.9, ("helps", "hurts")), (1.1, ("no evidence", "no evidence"))):
        mean = error * stats.t.isf(p * LOOK_LEVEL / 2, n - 1)
        assert (gain(differences(n, mean)).verdict, gain(differences(n, -mean)).verdict) == verdicts


@pytest.mark.parametrize("effect", [0.5, -0.3, 0.1])
def test_needed_seeds_find_the_difference_in_four_of_five(effect):
    found = gain(differences(8, effect))
    assert found.verdict == "no evidence"
    n = found.needed
    found_where = stats.t.isf(LOOK_LEVEL / 2, n - 1)
    power = stats.nct.sf(found_where, n - 1, abs(effect) * n**0.5)  # of one look at n seeds
    assert power == pytest.approx(0.8, abs=0.04)


def test_seeds_are_asked_for_only_where_more_may_resolve_it():
    assert gain(differences(8, 2.0)).needed is None  # it is found
    assert gain([0.5, -0.5]).needed is None  # there is nothing to find
    assert gain([0.1]).needed is None


def test_verdict_on_a_dead_knob_is_wrong_in_one_of_twenty():
    noise = np.random.default_rng(9).standard_normal((100_000, max(LOOKS)))
    found = [stats.ttest_1samp(noise[:, :n], 0, axis=1).pvalue < LOOK_LEVEL for n in LOOKS]
    assert np.any(found, axis=0).mean() == pytest.approx(0.05, abs=0.003)  # four standard errors
