"""A smooth surface through noisy trainings: Gaussian processes, averaged over what is not known.

y = surface(x) + offset(seed) + noise: Matern-5/2 over the searched numbers, each scaled to [0, 1],
a constant mean, an offset that all trainings of a seed share, white noise. Length scales, amplitude
and the size of the offsets are not chosen but averaged, each weighted by its restricted likelihood
(Harville 1977); beside them stands a flat surface of prior weight 1/2.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import stdtr

Array = NDArray[np.float64]
LENGTHS = (0.09, 0.15, 0.25, 0.45, 0.9)  # of the searched span
WIDE_LENGTHS = (0.15, 0.4, 1.0, 4.0)  # where several are searched, of which some may not matter
AMPLITUDES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # sd of the surface over sd of the noise
OFFSETS = (0.0, 1.0, 3.0, 10.0, 30.0)  # sd of the seeds' offsets over sd of the noise
TINY = 1e-30  # a scale above zero where all trainings agree
NEGLIGIBLE = 1e-3  # weight, beside the best model's, of one that is left out


@dataclass(frozen=True)
class Surface:
    """What the trainings say of m candidates and of their seeds."""

    mean: Array  # (m,)
    sd: Array  # (m,) of the surface, not of a training
    best: int  # the candidate of the lowest mean
    as_good: Array  # (m,) chance that a candidate is no worse than the best
    flat: float  # chance that nothing searched matters
    offsets: Array  # (seeds,) by how much each lies above what a seed gives on average


def fit(x: Array, seeds: Array, y: Array, candidates: Array) -> Surface:
    """Fit trainings at points x (n, d) in [0, 1] of seeds (n,), numbered from 0, to y (n,).

    candidates (m, d). The time grows with the cube of n: a second at 500.
    """
    same = (seeds[:, None] == np.arange(seeds.max() + 1)).astype(float)  # (n, seeds)
    lengths = list(_lengths(x.shape[1]))
    flat = 0.5 / len(OFFSETS)
    bent = 0.5 / (len(lengths) * len(AMPLITUDES) * len(OFFSETS))
    models = [(flat, _Model(x, same, y, lengths[0], 0.0, offset)) for offset in OFFSETS]
    for length in lengths:
        shape = _matern(x, x, length)
        for amplitude, offset in itertools.product(AMPLITUDES, OFFSETS):
            models.append((bent, _Model(x, same, y, length, amplitude, offset, shape)))
    logs = np.array([model.log_likelihood + math.log(prior) for prior, model in models])
    weights = np.exp(logs - logs.max())
    weights[weights < NEGLIGIBLE] = 0
    weights /= weights.sum()
    kept = [(w, models[i][1].predict(candidates)) for i, w in enumerate(weights) if w > 0]
    mean = np.sum([w * p.mean for w, p in kept], axis=0)
    square = np.sum([w * (p.mean**2 + p.variance) for w, p in kept], axis=0)
    best = int(np.argmin(mean))
    return Surface(
        mean=mean,
        sd=np.sqrt(np.maximum(square - mean**2, 0)),
        best=best,
        as_good=np.sum([w * p.no_worse_than(best) for w, p in kept], axis=0),
        flat=float(weights[: len(OFFSETS)].sum()),
        offsets=np.sum([w * p.model.offsets() for w, p in kept], axis=0),
    )


def _lengths(d: int) -> Iterator[tuple[float, ...]]:
    """Yield length scales, one for each searched number."""
    lengths = LENGTHS if d == 1 else WIDE_LENGTHS
    if d <= 3:
        yield from itertools.product(lengths, repeat=d)
    else:  # not all: a part of them
        yield from np.random.default_rng(0).choice(lengths, (64, d)).tolist()


def _matern(a: Array, b: Array, lengths: Sequence[float]) -> Array:
    """Matern-5/2 of unit variance: (1 + r + r^2 / 3) exp(-r) with r = sqrt(5) x distance."""
    r = np.sqrt(5 * (((a[:, None] - b[None]) / np.array(lengths)) ** 2).sum(-1))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


class _Model:
    """One Gaussian process; the scale of all is profiled, the constant mean integrated out."""

    def __init__(
        self,
        x: Array,
        same: Array,
        y: Array,
        lengths: Sequence[float],
        amplitude: float,
        offset: float,
        shape: Array | None = None,
    ) -> None:
        self.x, self.same, self.lengths = x, same, lengths
        self.amplitude, self.offset = amplitude**2, offset**2  # variances
        covariance = np.eye(len(y)) + self.offset * same @ same.T
        if shape is not None:
            covariance += self.amplitude * shape
        self.root = cholesky(covariance, lower=True)
        self.one = self._whiten(np.ones(len(y)))
        self.precision = float(self.one @ self.one)
        white = self._whiten(y)
        self.level = float(self.one @ white) / self.precision
        self.residual = white - self.level * self.one
        self.df = max(1, len(y) - 1)
        self.scale = max(float(self.residual @ self.residual) / self.df, TINY)
        log_det = 2 * np.log(np.diag(self.root)).sum()
        self.log_likelihood = -0.5 * (
            self.df * math.log(self.scale) + log_det + math.log(self.precision)
        )

    def _whiten(self, columns: Array) -> Array:
        return np.asarray(solve_triangular(self.root, columns, lower=True))

    def offsets(self) -> Array:
        """Return the expected offset of each seed, about zero."""
        expected = self.offset * self._whiten(self.same).T @ self.residual
        return np.asarray(expected - expected.mean())

    def predict(self, candidates: Array) -> "_Prediction":
        across = self._whiten(self.amplitude * _matern(self.x, candidates, self.lengths))  # (n, m)
        unexplained = 1 - across.T @ self.one  # (m,) how much the constant mean is still in it
        mean = self.level + across.T @ self.residual
        return _Prediction(self, candidates, mean, across, unexplained)


@dataclass(frozen=True)
class _Prediction:
    model: _Model
    candidates: Array
    mean: Array
    across: Array
    unexplained: Array

    def covariance_with(self, i: int) -> Array:
        """Return the covariance of every candidate with candidate i (m,)."""
        model = self.model
        shape = _matern(self.candidates, self.candidates[i : i + 1], model.lengths)[:, 0]
        known = self.across.T @ self.across[:, i]
        shared = self.unexplained * self.unexplained[i] / model.precision
        return np.asarray(model.scale * (model.amplitude * shape - known + shared))

    @property
    def variance(self) -> Array:
        model = self.model
        known = (self.across**2).sum(0)
        shared = self.unexplained**2 / model.precision
        return np.asarray(model.scale * np.maximum(model.amplitude - known + shared, 0))

    def no_worse_than(self, i: int) -> Array:
        """Return the chance that each candidate lies no higher than candidate i (m,)."""
        apart = self.mean - self.mean[i]
        variance = self.variance + self.variance[i] - 2 * self.covariance_with(i)
        sd = np.sqrt(np.maximum(variance, 0))
        told_apart = sd > 1e-9 * math.sqrt(self.model.scale)
        t = np.where(told_apart, -apart / np.where(told_apart, sd, 1), np.inf)
        return np.asarray(stdtr(self.model.df, t))
