"""The noise of trainings: what seeds share, what is left, and which trials say nothing.

Pure functions of numbers; smaller values are better.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

import numpy as np


def mean_and_sem(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and its standard error, None for a single value."""
    sem = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return fmean(values), sem


def far_above(means: Sequence[float]) -> float:
    """Return the mean beyond which a level says nothing about the best: min + 3 (median - min)."""
    return min(means) + 3 * (median(means) - min(means))


def paired_noise(rows: Sequence[Mapping[int, float]]) -> float:
    """Return the residual sd of trials {seed: value} without the means of trials and of seeds.

    Least squares of a two-way table that may have holes; 0 where nothing is left over. For a full
    table of J trials and S seeds: sum (y[j,s] - m_j - b_s + m)^2 / ((J-1)(S-1)).
    """
    seeds = sorted({seed for row in rows for seed in row})
    cells = [(j, seeds.index(s), value) for j, row in enumerate(rows) for s, value in row.items()]
    design = np.zeros((len(cells), len(rows) + len(seeds)))
    for i, (j, s, _) in enumerate(cells):
        design[i, j] = design[i, len(rows) + s] = 1
    values = np.array([value for _, _, value in cells])
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    left = len(cells) - int(rank)
    return math.sqrt(((values - design @ fitted) ** 2).sum() / left) if left > 0 else 0.0


def contenders(
    table: Mapping[float, Mapping[int, float]], given_up: Sequence[float] = ()
) -> tuple[float, float]:
    """Return the lowest and highest rate whose mean cannot be told from the best, one level wider.

    table is {rate: {seed: value}}, given_up the levels that were not trained to their end.

    A level stays if its mean is within two standard errors of a difference of the lowest, the noise
    that of the levels which are not far above the rest.
    """
    rates = sorted({*table, *given_up})
    means = {rate: fmean(row.values()) for rate, row in table.items()}
    best = min(means.values())
    cap = far_above(list(means.values()))
    noise = paired_noise([row for rate, row in table.items() if means[rate] <= cap])
    n_seeds = min(len(row) for row in table.values())
    within = best + 2 * noise * math.sqrt(2 / n_seeds)
    inside = [i for i, rate in enumerate(rates) if means.get(rate, math.inf) <= within]
    low, high = max(inside[0] - 1, 0), min(inside[-1] + 1, len(rates) - 1)
    return rates[low], rates[high]
