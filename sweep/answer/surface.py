"""A smooth surface through noisy trainings: Gaussian processes, averaged over what is not known.

y = surface(x) + offset(seed) + noise: Matern-5/2 over the searched numbers, each scaled to [0, 1],
a constant mean, an offset that all trainings of a seed share, and noise whose sd may grow along
the first axis and which near trainings of a seed may share. Length scales, amplitude, size of the
offsets and kind of the noise are not chosen but averaged, each weighted by its restricted
likelihood (Harville 1977); beside them stands a flat surface of prior weight 1/2. Where the surface
is known to be a wall, `scale` lets it be steep there without being steep elsewhere. All that is
fitted is linear in y, so the same weights can be put on another metric of the same trainings.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import stdtr

Array = NDArray[np.float64]
LENGTHS = (0.09, 0.15, 0.25, 0.45, 0.9)  # of the searched span
WIDE_LENGTHS = (0.15, 0.4, 1.0, 4.0)  # where several are searched, of which some may not matter
AMPLITUDES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # sd of the surface over sd of the noise
OFFSETS = (0.0, 1.0, 3.0, 10.0, 30.0)  # sd of the seeds' offsets over sd of the noise
# growth of the noise's sd from one end of the first axis to the other, and the part of its variance
# that near trainings of a seed share
NOISES = ((1.0, 0.0), (3.0, 0.0), (10.0, 0.0), (1.0, 0.8), (3.0, 0.8))
NEAR = 0.3  # length scale of what they share
TINY = 1e-30  # a scale above zero where all trainings agree
NEGLIGIBLE = 1e-3  # weight, beside the best model's, of one that is left out
AT_ONCE = 2**22  # numbers of the covariances that are factored together


@dataclass(frozen=True)
class Surface:
    """What n trainings say of m candidates and of their seeds."""

    mean: Array  # (m,)
    sd: Array  # (m,) of the surface, not of a training
    best: int  # the candidate of the lowest mean
    as_good: Array  # (m,) chance that a candidate is no worse than the best
    apart: Array  # (m,) sd of the difference between a candidate and the best
    flat: float  # chance that nothing searched matters
    weights: Array  # (m, n) of the trainings in the mean
    seed_weights: Array  # (seeds, n) of the trainings in how far each seed lies above the rest


@dataclass(frozen=True)
class Trainings:
    """Where the trainings and the candidates lie."""

    x: Array  # (n, d) in [0, 1]
    seeds: NDArray[np.intp]  # (n,) numbered from 0
    candidates: Array  # (m, d)
    scale: Array  # (n,) how steep the surface may be there, 1 or more
    candidate_scale: Array  # (m,)

    @property
    def same_seed(self) -> Array:
        """(n, seeds): 1 where a training has a seed."""
        return (self.seeds[:, None] == np.arange(self.seeds.max() + 1)).astype(float)

    def shape(self, lengths: Sequence[float]) -> Array:
        """Return the covariance (n, n) of a surface of amplitude 1."""
        return _matern(self.x, self.x, lengths) * self.scale[:, None] * self.scale

    def covariance(self, model: "Model", shape: Array) -> Array:
        """Return the covariance (n, n) of the trainings; shape is that of the surface alone."""
        sd, same = model.growth ** self.x[:, 0], self.same
        noise = (1 - model.shared) * np.diag(sd**2)
        if model.shared:
            noise += model.shared * self.near * sd[:, None] * sd
        return np.asarray(model.amplitude**2 * shape + model.offset**2 * same + noise)

    @cached_property
    def same(self) -> Array:
        """(n, n): 1 where two trainings have the same seed."""
        return (self.seeds[:, None] == self.seeds).astype(float)

    @cached_property
    def near(self) -> Array:
        """(n, n): how much of their noise two trainings may share."""
        return self.same * _matern(self.x, self.x, [NEAR] * self.x.shape[1])


@dataclass(frozen=True)
class Model:
    """The numbers of one Gaussian process, relative to the sd of the noise at 0."""

    prior: float
    lengths: tuple[float, ...]
    amplitude: float
    offset: float
    growth: float
    shared: float


def fit(at: Trainings, y: Array, contenders: int | None = None) -> Surface:
    """Fit trainings with values y (n,); the best is one of the first contenders among candidates.

    The time grows with the cube of n: seconds at 500.
    """
    models = list(_models(at.x.shape[1]))
    logs = _log_likelihoods(at, models, y) + np.log([model.prior for model in models])
    chances = np.exp(logs - logs.max())
    chances[chances < NEGLIGIBLE] = 0
    chances /= chances.sum()
    likely = np.flatnonzero(chances)
    fits = [_Fitted(at, models[i], y) for i in likely]

    def mixed(parts: Iterable[Array]) -> Array:
        return np.asarray(sum(c * part for c, part in zip(chances[likely], parts, strict=True)))

    mean = mixed(one.mean for one in fits)
    best = int(np.argmin(mean[:contenders]))
    square = mixed(one.mean**2 + one.variance for one in fits)
    apart = mixed(one.above(best) ** 2 + one.variance_above(best) for one in fits)
    return Surface(
        mean=mean,
        sd=np.sqrt(np.maximum(square - mean**2, 0)),
        best=best,
        as_good=mixed(one.no_worse_than(best) for one in fits),
        apart=np.sqrt(np.maximum(apart - (mean - mean[best]) ** 2, 0)),
        flat=float(sum(chances[i] for i in likely if not models[i].amplitude)),
        weights=mixed(one.weights for one in fits),
        seed_weights=mixed(one.seed_weights for one in fits),
    )


def _models(d: int) -> Iterator[Model]:
    lengths, several = list(_lengths(d)), len(OFFSETS) * len(NOISES)
    for offset, noise in itertools.product(OFFSETS, NOISES):
        yield Model(0.5 / several, lengths[0], 0.0, offset, *noise)
    bent = 0.5 / (len(lengths) * len(AMPLITUDES) * several)
    for length, size, offset, noise in itertools.product(lengths, AMPLITUDES, OFFSETS, NOISES):
        yield Model(bent, length, size, offset, *noise)


def _lengths(d: int) -> Iterator[tuple[float, ...]]:
    """Yield length scales, one for each searched number."""
    lengths = LENGTHS if d == 1 else WIDE_LENGTHS
    if d <= 3:
        yield from itertools.product(lengths, repeat=d)
    else:  # not all: a part of them
        yield from map(tuple, np.random.default_rng(0).choice(lengths, (64, d)).tolist())


def _matern(a: Array, b: Array, lengths: Sequence[float]) -> Array:
    """Matern-5/2 of unit variance: (1 + r + r^2 / 3) exp(-r) with r = sqrt(5) x distance."""
    r = np.sqrt(5 * (((a[:, None] - b[None]) / np.array(lengths)) ** 2).sum(-1))
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


def _log_likelihoods(at: Trainings, models: Sequence[Model], y: Array) -> Array:
    """Return the restricted log likelihood of each model, the scale of all profiled."""
    n = len(y)
    shapes = {lengths: at.shape(lengths) for lengths in {model.lengths for model in models}}
    columns = np.stack([np.ones(n), y], 1)
    logs = []
    for first in range(0, len(models), size := max(1, AT_ONCE // n**2)):
        some = models[first : first + size]
        covariances = np.stack([at.covariance(model, shapes[model.lengths]) for model in some])
        roots = np.linalg.cholesky(covariances)
        one, white = np.moveaxis(np.linalg.solve(roots, columns), -1, 0)  # (models, n) each
        precision = (one**2).sum(1)
        residual = white - ((one * white).sum(1) / precision)[:, None] * one
        scale = np.maximum((residual**2).sum(1) / max(1, n - 1), TINY)
        log_det = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
        logs.append(-0.5 * (max(1, n - 1) * np.log(scale) + log_det + np.log(precision)))
    return np.concatenate(logs)


class _Fitted:
    """One Gaussian process given the trainings; the constant mean is integrated out."""

    def __init__(self, at: Trainings, model: Model, y: Array) -> None:
        shape = at.shape(model.lengths)
        root = cholesky(at.covariance(model, shape), lower=True)
        self.at, self.model, self.df = at, model, max(1, len(y) - 1)
        across = _matern(at.x, at.candidates, model.lengths)
        across *= model.amplitude**2 * at.scale[:, None] * at.candidate_scale
        white = solve_triangular(root, np.eye(len(y)), lower=True)  # (n, n) whitens y
        self.across = white @ across  # (n, m)
        one = white.sum(1)
        self.precision = float(one @ one)
        level = one @ white / self.precision  # (n,) weights of the constant mean
        self.unexplained = 1 - self.across.T @ one  # (m,) how much of that mean is still in it
        centred = white - one[:, None] * level
        self.weights = level + self.across.T @ centred  # (m, n)
        expected = model.offset**2 * (white @ at.same_seed).T @ centred  # (seeds, n)
        self.seed_weights = expected - expected.mean(0)
        residual = centred @ y
        self.scale = max(float(residual @ residual) / self.df, TINY)
        self.mean = self.weights @ y

    @property
    def variance(self) -> Array:
        """(m,) of the surface at each candidate."""
        amplitude = (self.model.amplitude * self.at.candidate_scale) ** 2
        shared = self.unexplained**2 / self.precision
        known = (self.across**2).sum(0)
        return np.asarray(self.scale * np.maximum(amplitude - known + shared, 0))

    def above(self, i: int) -> Array:
        """Return by how much each candidate lies above candidate i (m,)."""
        return np.asarray(self.mean - self.mean[i])

    def variance_above(self, i: int) -> Array:
        """Return the variance of that difference (m,)."""
        at, model = self.at, self.model
        shape = _matern(at.candidates, at.candidates[i : i + 1], model.lengths)[:, 0]
        shape *= model.amplitude**2 * at.candidate_scale * at.candidate_scale[i]
        shared = self.unexplained * self.unexplained[i] / self.precision
        covariance = self.scale * (shape - self.across.T @ self.across[:, i] + shared)
        variance = self.variance
        return np.asarray(np.maximum(variance + variance[i] - 2 * covariance, 0))

    def no_worse_than(self, i: int) -> Array:
        """Return the chance that each candidate lies no higher than candidate i (m,)."""
        sd = np.sqrt(self.variance_above(i))
        told_apart = sd > 1e-9 * math.sqrt(self.scale)
        told_apart[i] = False
        t = np.where(told_apart, -self.above(i) / np.where(told_apart, sd, 1), np.inf)
        return np.asarray(stdtr(self.df, t))
