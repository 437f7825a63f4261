"""What losses did over the epochs, against lines whose slope is known."""

import numpy as np
import pytest

from sweep.answer.curve import over_time


def test_slopes_are_least_squares_over_the_last_parts():
    rng = np.random.default_rng(0)
    curve = rng.standard_normal((40, 3))
    found = over_time(curve.tolist())
    for slopes, n in ((found.end_slopes, 8), (found.half_slopes, 20)):
        expected = [np.polyfit(range(n), curve[-n:, k], 1)[0] for k in range(3)]
        assert slopes == pytest.approx(expected)
    assert found.lowest_epoch == curve.mean(1).argmin() + 1


def test_short_curves():
    assert over_time([[1.0, 2.0]]).end_slopes == [0.0, 0.0]
    assert over_time([[1.0], [0.5]]).end_slopes == [-0.5]
    assert over_time([[9.0], [1.0], [0.5], [0.0]]).end_slopes == [-0.5]  # three at least
