"""The statistics: pure functions of numbers, no torch.

A table is {rate: [metric for each seed]}; smaller is better.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

import numpy as np


def mean_and_sem(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error, None for a single value."""
    sem = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return fmean(values), sem


def contenders(table: Mapping[float, Sequence[float]]) -> tuple[float, float]:
    """Return the lowest and highest rate whose mean cannot be told from the best, one level wider.

    A level stays if its mean is within two standard errors of a difference of the lowest; the noise
    is what is left once levels and seeds have their means taken off, far worse levels aside.
    """
    rates = sorted(table)
    means = {rate: fmean(table[rate]) for rate in rates}
    best = min(means.values())
    cap = far_above(list(means.values()))
    noise = paired_noise([table[rate] for rate in rates if means[rate] <= cap])
    n_seeds = min(len(values) for values in table.values())
    within = best + 2 * noise * math.sqrt(2 / n_seeds)
    inside = [i for i, rate in enumerate(rates) if means[rate] <= within]
    low, high = max(inside[0] - 1, 0), min(inside[-1] + 1, len(rates) - 1)
    return rates[low], rates[high]


def paired_noise(rows: Sequence[Sequence[float]]) -> float:
    """Return the residual sd of levels x seeds without the means of both, 0 with nothing left.

    sigma^2 = sum (y[j,s] - m_j - b_s + m)^2 / ((J-1)(S-1))
    """
    n_levels, n_seeds = len(rows), min(map(len, rows), default=0)
    if n_levels < 2 or n_seeds < 2:
        return 0.0
    means = [fmean(row[:n_seeds]) for row in rows]
    offsets = [fmean(row[s] for row in rows) for s in range(n_seeds)]
    total = fmean(means)
    squares = sum(
        (row[s] - mean - offsets[s] + total) ** 2
        for row, mean in zip(rows, means, strict=True)
        for s in range(n_seeds)
    )
    return math.sqrt(squares / ((n_levels - 1) * (n_seeds - 1)))


def seed_offsets(
    points: np.ndarray, seeds: Sequence[Sequence[int]], values: Sequence[Sequence[float]]
) -> dict[int, float]:
    """Estimate by how much each seed lies above or below the others, whatever is trained with it.

    Trials of different generations have different seeds, so their means compare only without
    these. points (n, d) holds each trial's searched numbers. Least squares of the values on a
    dummy for each seed and a polynomial in each number: of degree 4 where one is searched, else 2.
    Trials far above the rest are left out, or the wall at high rates would bend the polynomial.
    """
    n, d = points.shape
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    powers = np.concatenate([scaled**k for k in range(1, 5 if d == 1 else 3)], axis=1)
    means = [fmean(row) for row in values]
    cap = far_above(means)
    rows = [
        (i, seed, value)
        for i in range(n)
        if means[i] <= cap
        for seed, value in zip(seeds[i], values[i], strict=True)
    ]
    known = sorted({seed for _, seed, _ in rows})
    dummies = np.array([[seed == other for other in known] for _, seed, _ in rows], float)
    design = np.concatenate([dummies, powers[[i for i, _, _ in rows]]], axis=1)
    targets = np.array([value for _, _, value in rows])
    fitted = np.linalg.lstsq(design, targets, rcond=None)[0][: len(known)]
    nothing = dict.fromkeys((seed for row in seeds for seed in row), 0.0)
    return nothing | dict(zip(known, (fitted - fitted.mean()).tolist(), strict=True))


def far_above(means: Sequence[float]) -> float:
    """Return the mean beyond which a level says nothing about the best: min + 3 (median - min)."""
    return min(means) + 3 * (median(means) - min(means))
