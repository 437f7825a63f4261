"""The smooth surface against the textbook's Gaussian process."""

import numpy as np
import pytest
from scipy import stats

from sweep.answer.surface import NEAR, Model, Trainings, _Fitted, _log_likelihoods, fit

LENGTH, AMPLITUDE, OFFSET, GROWTH, SHARED = 0.25, 3.0, 2.0, 4.0, 0.6
MODEL = Model(1.0, (LENGTH,), AMPLITUDE, OFFSET, GROWTH, SHARED)


def matern(apart, length=LENGTH):
    r = np.sqrt(5) * np.abs(apart) / length
    return (1 + r + r**2 / 3) * np.exp(-r)


@pytest.fixture
def world():
    """Trainings, candidates and numbers, and the joint prior covariance of both."""
    rng = np.random.default_rng(8)
    x, at = rng.uniform(0, 1, 12), np.linspace(0, 1, 5)
    seeds, scale, scale_at = np.arange(12) % 3, rng.uniform(1, 5, 12), rng.uniform(1, 5, 5)
    trainings = Trainings(x[:, None], seeds, at[:, None], scale, scale_at)
    everywhere, steep = np.concatenate([x, at]), np.concatenate([scale, scale_at])
    prior = AMPLITUDE**2 * matern(everywhere[:, None] - everywhere) * steep[:, None] * steep
    same = seeds[:, None] == seeds
    near = SHARED * same * matern(x[:, None] - x, NEAR) + (1 - SHARED) * np.eye(12)
    noise = OFFSET**2 * same + near * GROWTH ** (x[:, None] + x)
    return trainings, rng.standard_normal(12), prior, noise


def test_surface_of_one_model_is_the_textbooks_gaussian_process(world):
    """The mean is kriging's with a constant mean that is not known; here written out."""
    trainings, y, prior, noise = world
    inverse, one = np.linalg.inv(prior[:12, :12] + noise), np.ones(12)
    across = prior[12:, :12]
    level = one @ inverse @ y / (one @ inverse @ one)
    expected = level + across @ inverse @ (y - level)
    found = _Fitted(trainings, MODEL, y)
    np.testing.assert_allclose(found.mean, expected, atol=1e-10)
    np.testing.assert_allclose(found.weights @ y, expected, atol=1e-10)
    scale = (y - level) @ inverse @ (y - level) / 11
    free = 1 - across @ inverse @ one
    known = np.einsum("ij,jk,ik->i", across, inverse, across)
    variance = np.diag(prior)[12:] - known + free**2 / (one @ inverse @ one)
    np.testing.assert_allclose(found.variance, scale * variance, atol=1e-10)
    luck = OFFSET**2 * trainings.same_seed.T @ inverse @ (y - level)
    np.testing.assert_allclose(found.seed_weights @ y, luck - luck.mean(), atol=1e-10)


def test_likelihood_is_that_of_all_contrasts_of_the_trainings(world):
    """Restricted likelihood: normal density of y without its mean, the scale profiled."""
    trainings, y, prior, noise = world
    covariance = prior[:12, :12] + noise
    contrasts = np.linalg.svd(np.ones((1, 12)))[2][1:]  # orthonormal, blind to a constant
    inner = contrasts @ covariance @ contrasts.T
    z = contrasts @ y
    scale = z @ np.linalg.solve(inner, z) / 11
    density = stats.multivariate_normal(cov=scale * inner).logpdf(z)
    flat = Model(1.0, (LENGTH,), 0.0, OFFSET, GROWTH, SHARED)
    inner = contrasts @ noise @ contrasts.T
    scale = z @ np.linalg.solve(inner, z) / 11
    expected = density - stats.multivariate_normal(cov=scale * inner).logpdf(z)
    bent, even = _log_likelihoods(trainings, [MODEL, flat], y)
    assert bent - even == pytest.approx(expected)


def test_chance_to_be_no_worse_than_another_is_students_t_of_their_difference(world):
    """Joint normal of trainings and candidates whose constant mean is unknown: nearly any."""
    trainings, y, prior, noise = world
    joint = 1e6 + prior
    gain = joint[12:, :12] @ np.linalg.inv(joint[:12, :12] + noise)
    mean, covariance = gain @ y, joint[12:, 12:] - gain @ joint[:12, 12:]
    others = [0, 1, 2, 4]
    variance = np.diag(covariance)[others] + covariance[3, 3] - 2 * covariance[3, others]
    fitted = _Fitted(trainings, MODEL, y)
    t = (mean[3] - mean[others]) / (fitted.scale * variance) ** 0.5
    found = fitted.no_worse_than(3)
    np.testing.assert_allclose(found[others], stats.t.cdf(t, 11), atol=1e-5)
    np.testing.assert_allclose(fitted.variance_above(3)[others], fitted.scale * variance, rtol=1e-4)
    assert found[3] == 1


def even(x, seeds, at):
    return Trainings(x, seeds, at, np.ones(len(x)), np.ones(len(at)))


def test_averaged_surface_is_exact_where_trainings_are():
    x = np.linspace(0, 1, 7)[:, None]
    y = np.sin(3 * x[:, 0])
    found = fit(even(np.repeat(x, 3, 0), np.tile([0, 1, 2], 7), x), np.repeat(y, 3))
    np.testing.assert_allclose(found.mean, y, atol=2e-3)


def test_averaged_mean_is_linear_in_the_trainings_given_the_weights():
    rng = np.random.default_rng(0)
    x, at = np.repeat(np.linspace(0, 1, 9), 2)[:, None], np.linspace(0, 1, 21)[:, None]
    y = (x[:, 0] - 0.4) ** 2 + 0.05 * rng.standard_normal(18)
    found = fit(even(x, np.tile([0, 1], 9), at), y)
    np.testing.assert_allclose(found.weights @ y, found.mean, atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-9)  # a constant stays a constant
    assert found.best == found.mean.argmin() and found.as_good[found.best] == pytest.approx(1)
    some = fit(even(x, np.tile([0, 1], 9), at), y, 3)
    assert some.best == found.mean[:3].argmin() and some.apart[some.best] < 1e-6


def test_growth_of_the_noise_is_found():
    rng = np.random.default_rng(3)
    x = np.repeat(np.linspace(0, 1, 17), 4)
    at = even(x[:, None], np.tile(np.arange(4), 17), np.zeros((1, 1)))
    models = [Model(1.0, (LENGTH,), 0.0, 0.0, growth, 0.0) for growth in (1.0, 10.0)]
    white = rng.standard_normal(len(x))
    for growth, likelier in ((1.0, 0), (10.0, 1)):
        logs = _log_likelihoods(at, models, growth**x * white)
        assert logs.argmax() == likelier and abs(logs[0] - logs[1]) > 5
