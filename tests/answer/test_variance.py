"""What seeds share and what is left, against tables whose noise is known."""

import numpy as np
import pytest

from sweep.answer.variance import contenders, far_above, mean_and_sem, paired_noise


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


def test_contenders_are_one_level_wider_than_what_ties():
    rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    means = [0.5, 0.3, 0.101, 0.1, 0.3, 0.6, 1.0, 9.0]
    wiggle = [0.01, -0.01, 0.0]
    rows = table([[m + w * (-1) ** i for w in wiggle] for i, m in enumerate(means)])
    assert contenders(dict(zip(rates, rows, strict=True))) == (0.1, 0.4)


@pytest.mark.parametrize(("errors", "expected"), [(1.9, (0.1, 0.4)), (2.1, (0.1, 0.3))])
def test_contenders_lie_within_two_standard_errors_of_the_best(errors, expected):
    rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    noise = np.array([0.1, -0.1, 0.0]) * np.array([[1, -1] * 3]).T
    error = (12 * 0.1**2 / (5 * 2) * 2 / 3) ** 0.5  # of a difference of two means
    means = error * np.array([10, 10, 0, errors, 10, 10])
    luck = np.array([5, 0, 9])
    rows = table(means[:, None] + luck + noise)
    assert contenders(dict(zip(rates, rows, strict=True))) == expected
    mirrored = dict(zip(rates, rows[::-1], strict=True))
    assert contenders(mirrored) == tuple(round(0.5 - rate, 1) for rate in expected[::-1])


def test_contenders_reach_to_the_next_level_though_it_was_given_up():
    means = {0.0: 0.6, 0.2: 0.5, 0.4: 0.1, 0.7: 0.6}
    rows = {rate: {0: mean, 1: mean} for rate, mean in means.items()}
    assert contenders(rows) == (0.2, 0.7)
    assert contenders(rows, [0.3, 0.5, 0.6]) == (0.3, 0.5)


def test_contenders_with_one_seed_or_one_level():
    assert contenders({0.0: {0: 1.0}, 0.4: {0: 0.5}, 0.8: {0: 2.0}}) == (0.0, 0.8)
    assert contenders({0.3: {0: 1.0, 1: 1.1}}) == (0.3, 0.3)
