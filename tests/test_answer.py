"""The statistics against closed forms and against data whose truth is known."""

import numpy as np
import pytest

from sweep.answer import contenders, mean_and_sem, paired_noise, seed_offsets


def test_mean_and_sem():
    assert mean_and_sem([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / 3**0.5))
    assert mean_and_sem([5.0]) == (5.0, None)


def test_paired_noise_is_blind_to_seed_offsets_and_levels():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.3, (200, 50))
    table = noise + rng.normal(0, 5, (200, 1)) + rng.normal(0, 5, (1, 50))
    assert paired_noise(table.tolist()) == pytest.approx(0.3, rel=0.05)
    assert paired_noise([[1.0], [2.0]]) == 0


def test_contenders_are_one_level_wider_than_what_ties():
    rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    means = [0.5, 0.3, 0.101, 0.1, 0.3, 0.6, 1.0, 9.0]
    wiggle = [0.01, -0.01, 0.0]
    table = {
        r: [m + w * (-1) ** i for w in wiggle]
        for i, (r, m) in enumerate(zip(rates, means, strict=True))
    }
    assert contenders(table) == (0.1, 0.4)


def test_contenders_with_one_seed_or_one_level():
    assert contenders({0.0: [1.0], 0.4: [0.5], 0.8: [2.0]}) == (0.0, 0.8)
    assert contenders({0.3: [1.0, 1.1]}) == (0.3, 0.3)


def test_seed_offsets_recover_a_generation_with_lucky_seeds():
    rng = np.random.default_rng(1)
    curve = lambda rate: 0.3 - 0.2 * rate + 0.5 * rate**2  # noqa: E731
    luck = dict(
        zip([0, 1, 2, 1000, 1001, 1002], [0.02, 0.03, 0.01, -0.05, -0.02, 0.01], strict=True)
    )
    first, second = np.linspace(0, 0.8, 8), np.linspace(0.1, 0.4, 8)
    rates = np.concatenate([first, second])
    seeds = [[0, 1, 2]] * 8 + [[1000, 1001, 1002]] * 8
    values = [
        [curve(rate) + luck[s] + rng.normal(0, 1e-4) for s in row]
        for rate, row in zip(rates, seeds, strict=True)
    ]
    offsets = seed_offsets(rates[:, None], seeds, values)
    for seed, offset in luck.items():
        assert offsets[seed] == pytest.approx(offset, abs=1e-3)  # luck sums to zero


def test_seed_offsets_are_nothing_for_one_trial():
    assert seed_offsets(np.array([[0.3]]), [[7]], [[1.0]]) == {7: 0.0}
