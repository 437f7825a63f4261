"""The smooth surface against the textbook's Gaussian process."""

import numpy as np
from scipy import stats

from sweep.answer.surface import _matern, _Model, fit


def test_surface_of_one_model_is_the_textbooks_gaussian_process():
    """With one length, amplitude and no offsets the mean is kriging's; here written out."""
    rng = np.random.default_rng(8)
    x, y = rng.uniform(0, 1, (12, 1)), rng.standard_normal(12)
    model = _Model(x, np.eye(12), y, (0.25,), 3.0, 0.0, _matern(x, x, (0.25,)))
    at = np.linspace(0, 1, 5)[:, None]
    r = np.sqrt(5) * np.abs(x - x.T) / 0.25
    covariance = 9 * (1 + r + r**2 / 3) * np.exp(-r) + np.eye(12)
    r = np.sqrt(5) * np.abs(at - x.T) / 0.25
    across = 9 * (1 + r + r**2 / 3) * np.exp(-r)
    inverse, one = np.linalg.inv(covariance), np.ones(12)
    level = one @ inverse @ y / (one @ inverse @ one)
    expected = level + across @ inverse @ (y - level)
    prediction = model.predict(at)
    np.testing.assert_allclose(prediction.mean, expected, atol=1e-10)
    scale = (y - level) @ inverse @ (y - level) / 11
    free = 1 - across @ inverse @ one
    variance = (
        9 - np.einsum("ij,jk,ik->i", across, inverse, across) + free**2 / (one @ inverse @ one)
    )
    np.testing.assert_allclose(prediction.variance, scale * variance, atol=1e-10)


def test_chance_to_be_no_worse_than_another_is_students_t_of_their_difference():
    """Joint normal of trainings and candidates whose constant mean is unknown: nearly any."""
    rng = np.random.default_rng(8)
    x, y, at = rng.uniform(0, 1, 12), rng.standard_normal(12), np.linspace(0, 1, 5)
    model = _Model(
        x[:, None], np.eye(12), y, (0.25,), 3.0, 0.0, _matern(x[:, None], x[:, None], (0.25,))
    )
    everywhere = np.concatenate([x, at])
    r = np.sqrt(5) * np.abs(everywhere[:, None] - everywhere) / 0.25
    joint = 1e5 + 9 * (1 + r + r**2 / 3) * np.exp(-r)
    gain = joint[12:, :12] @ np.linalg.inv(joint[:12, :12] + np.eye(12))
    mean, covariance = gain @ y, joint[12:, 12:] - gain @ joint[:12, 12:]
    others = [0, 1, 2, 4]
    variance = np.diag(covariance)[others] + covariance[3, 3] - 2 * covariance[3, others]
    t = (mean[3] - mean[others]) / (model.scale * variance) ** 0.5
    found = model.predict(at[:, None]).no_worse_than(3)
    np.testing.assert_allclose(found[others], stats.t.cdf(t, 11), atol=1e-5)
    assert found[3] == 1


def test_averaged_surface_is_exact_where_trainings_are():
    x = np.linspace(0, 1, 7)[:, None]
    y = np.sin(3 * x[:, 0])
    found = fit(np.repeat(x, 3, 0), np.tile([0, 1, 2], 7), np.repeat(y, 3), x)
    np.testing.assert_allclose(found.mean, y, atol=2e-3)
