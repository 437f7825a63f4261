"""What may be the answer: values between and at those that were trained."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from scipy.special import stdtr

from sweep.answer.surface import Array
from sweep.answer.variance import far_above, paired_noise
from sweep.command.space import Axis, Number

Point = Mapping[str, Number]
STEP = 0.01  # of the rates that may be the answer, unless the search is narrow
MOST_STEPS, FEWEST_STEPS = 100, 32
REJECTED = 0.05  # chance that any of the levels that are as good is rejected


def choices_along(axis: Axis, point: Point, points: Sequence[Point]) -> list[dict[str, Number]]:
    """Return points that differ from one in one number: each value of a list that was trained, or
    round rates, or values that lie evenly."""
    if axis.values:
        trained = {point[axis.key] for point in points}
        values: list[Number] = [value for value in sorted(axis.values) if value in trained]
    else:
        values = _grid(axis)
    return [{**point, axis.key: value} for value in values]


def _grid(axis: Axis) -> list[Number]:
    low, high = axis.ends
    if axis.log:
        even = np.geomspace(low, high, FEWEST_STEPS + 1).tolist()
    elif FEWEST_STEPS <= (high - low) / STEP <= MOST_STEPS and not isinstance(low, int):
        steps = np.arange(math.ceil(low / STEP), math.floor(high / STEP) + 1)
        even = [low, *(steps * STEP).round(2).tolist(), high]
    else:
        even = np.linspace(low, high, FEWEST_STEPS + 1).tolist()
    whole = isinstance(low, int) and isinstance(high, int)
    return sorted({round(value) if whole else round(value, 9) for value in even})


def places(axes: Sequence[Axis], points: Sequence[Point]) -> Array:
    """Return each point's place (points, axes) on axes scaled to [0, 1]."""
    return np.array([[unit(axis, point[axis.key]) for axis in axes] for point in points])


def unit(axis: Axis, value: Number) -> float:
    """Place a value on the axis scaled to [0, 1]."""
    low, high = min(axis.ends), max(axis.ends)
    if low == high:
        return 0.0
    if axis.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def is_trained_side(
    choice: Point, trained: Sequence[Point], lost: Sequence[Point], axes: Sequence[Axis]
) -> bool:
    """Return whether a choice is no nearer to a lost point than to any trained one."""
    if not lost:
        return True
    here = places(axes, [choice])[0]
    near, far = (
        ((places(axes, some) - here) ** 2).sum(1).min() if some else math.inf
        for some in (trained, lost)
    )
    return bool(near <= far + 1e-12)


def rejected_points(points: Sequence[Point], rows: Sequence[Mapping[int, float]]) -> list[Point]:
    """Return the points that their own seeds show to be worse than another of the same seeds.

    Student's t of paired differences, the noise pooled over the levels that are not far above the
    rest, the level shared between all pairs (Bonferroni), as the best is picked too.
    """
    rejected = []
    for seeds in dict.fromkeys(tuple(row) for row in rows):
        mine = [i for i, row in enumerate(rows) if tuple(row) == seeds]
        means = np.array([fmean(rows[i].values()) for i in mine])
        near = [i for i, mean in zip(mine, means, strict=True) if mean <= far_above(means.tolist())]
        noise = paired_noise([rows[i] for i in near])
        df = (len(near) - 1) * (len(seeds) - 1)
        if df < 1 or not noise:
            continue
        t = (means - means.min()) / (noise * math.sqrt(2 / len(seeds)))
        worse = stdtr(df, t) > 1 - REJECTED / math.comb(len(mine), 2)
        rejected += [points[i] for i, is_worse in zip(mine, worse, strict=True) if is_worse]
    return rejected
