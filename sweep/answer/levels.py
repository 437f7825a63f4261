"""The rates that a search tries: even levels first, then finer ones where the best may lie."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import qmc

from sweep.answer.best import find_best
from sweep.answer.choices import Point
from sweep.command.space import Axis

COARSE, FINE = 2, 4  # decimals of a rate, and of those of a narrow search
NARROW = 0.2
FEWEST = 3  # rates of a generation that has rate 0 among them


def even_levels(low: float, high: float, n: int, log: bool = False) -> list[float]:
    """Return n rates from low to high, both among them, as a person would write them.

    They come in an order of which any beginning is spread over the whole.
    """
    even = (np.geomspace if log else np.linspace)(low, high, n)
    return _spread_first(_rounded(even, low, high, log))


def zoomed_levels(
    points: Sequence[Point],
    rows: Sequence[Mapping[int, float]],
    axis: Axis,
    n: int,
    lost: Sequence[Point] = (),
) -> list[float]:
    """Return n rates among those that cannot be told from the best; rate 0 first if it is searched.

    rows are {seed: value} of the trials at points. They are rates that were not tried, so that the
    curve is known at many; where the set has too few, the nearest ones outside join them. A small
    generation has no place for rate 0.
    """
    found, _ = find_best(points, rows, [axis], lost)
    tried, range_ = {point[axis.key] for point in points}, found.ranges[axis.key]
    low, high = float(axis.low), float(axis.high)
    narrow = high - low < NARROW and not axis.log
    fine = np.linspace(low, high, 401) if narrow else np.array(found.rates)
    free = [rate for rate in _rounded(fine, low, high, axis.log) if rate not in tried]
    free = free or sorted(tried)
    first = [0.0] if low == 0 and n >= FEWEST else []
    n_new = n - len(first)
    inside = [rate for rate in free if range_.holds(rate)]
    if len(inside) < n_new:
        outside = {
            rate: min(abs(rate - end) for ends in range_.islands for end in ends) for rate in free
        }
        inside = sorted(sorted(free, key=outside.__getitem__)[:n_new])
    places = ((np.arange(n_new) + 0.5) * len(inside) / n_new).astype(int)
    return [*first, *_spread_first([inside[place] for place in places])]


def _rounded(levels: np.ndarray, low: float, high: float, log: bool) -> list[float]:
    decimals = FINE if log or high - low < NARROW else COARSE
    return [min(max(rate, low), high) for rate in levels.round(decimals).tolist()]


def _spread_first(levels: Sequence[float]) -> list[float]:
    """Return levels in the order of van der Corput's sequence."""
    places = qmc.Halton(1, scramble=False).random(len(levels))[:, 0] if levels else np.zeros(0)
    return [levels[int(rank)] for rank in np.argsort(np.argsort(places))]
