"""What seeds share and what is left, against tables whose noise is known."""

import numpy as np
import pytest

from sweep.answer.variance import far_above, mean_and_sem, paired_noise, steepness


def table(values):
    return [dict(enumerate(row)) for row in values]


def test_mean_and_sem():
    assert mean_and_sem([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / 3**0.5))
    assert mean_and_sem([5.0]) == (5.0, None)


def test_paired_noise_is_blind_to_seed_offsets_and_levels():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, (60, 20))
    whole = table(noise + rng.normal(0, 5, (60, 1)) + rng.normal(0, 5, (1, 20)))
    residual = noise - noise.mean(1, keepdims=True) - noise.mean(0) + noise.mean()
    expected = ((residual**2).sum() / (59 * 19)) ** 0.5
    assert paired_noise(whole) == pytest.approx(expected)
    del whole[3][5], whole[10][0]
    assert paired_noise(whole) == pytest.approx(expected, rel=0.02)
    assert paired_noise([{0: 1.0}, {0: 2.0}]) == 0


def test_far_above_leaves_the_wall_out():
    assert far_above([0.1, 0.2, 0.3, 9.0, 30.0]) == pytest.approx(0.7)


def test_a_surface_may_be_steep_only_far_above_the_lowest():
    rows = table([[m, m + 0.01] for m in (0.1, 0.2, 0.3, 9.0, 30.0)])
    steep = steepness(rows)
    assert steep[:3].tolist() == [1, 1, 1]
    assert steep[4] ** 2 / steep[3] ** 2 == pytest.approx(29.9 / 8.9) and steep[3] > 6
    assert steepness(table([[1.0], [1.0]])).tolist() == [1, 1]
