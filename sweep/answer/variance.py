"""The noise of trainings: what seeds share, what is left, and which trials say nothing.

Pure functions of numbers; smaller values are better.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev

import numpy as np

STEEPEST = 1000  # a wall beside a bottom
ROUNDED = 1e-12  # relative: what the arithmetic makes of no noise at all
EVEN = 5  # noises by which levels may differ before the highest count as a wall


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
    noise = math.sqrt(((values - design @ fitted) ** 2).sum() / left) if left > 0 else 0.0
    return noise if noise > ROUNDED * abs(values).max() else 0.0


def steepness(rows: Sequence[Mapping[int, float]]) -> np.ndarray:
    """Return how steep a surface may be at trials {seed: value}, 1 or more for each.

    It is 1 at all that are not far above the lowest, and grows with the root of the excess beyond:
    in proportion to it, the surface would take the noise of the levels for its own.
    """
    means = np.array([fmean(row.values()) for row in rows])
    near = [row for row, mean in zip(rows, means, strict=True) if mean <= far_above(means.tolist())]
    excess = means - means.min()
    usual = max(float(np.median(excess)), EVEN * paired_noise(near), excess.max() / STEEPEST)
    return np.sqrt(np.maximum(1.0, excess / usual)) if usual > 0 else np.ones(len(rows))
