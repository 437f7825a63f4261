"""Which rate is best, and which cannot be told from it; smaller values are better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from sweep.answer.choices import Point, choices_along, is_trained_side, places, rejected_points
from sweep.answer.surface import Array, Surface, Trainings, fit
from sweep.answer.variance import steepness
from sweep.command.space import Axis, Number

SET_LEVEL = 0.04  # a rate stays in the set while its chance to be no worse is at least this
NOTHING = 0.02  # a best rate below this is no dropout
MOST = 1000  # trainings that the surface is fitted to: its time grows with their cube
Row = Mapping[int, float]  # {seed: value}


@dataclass(frozen=True)
class Range:
    """The values of one searched number that cannot be told from the best (95%)."""

    islands: tuple[tuple[Number, Number], ...]  # ends of each, both in it
    edge: str | None  # "low" or "high": the bound of the search that cuts it off
    values: tuple[Number, ...] | None  # each of them where a list was searched
    whole: bool = False  # whether that is all that was searched

    @property
    def low(self) -> Number:
        return self.islands[0][0]

    @property
    def high(self) -> Number:
        return self.islands[-1][1]

    def holds(self, value: Number) -> bool:
        return any(low <= value <= high for low, high in self.islands)


@dataclass(frozen=True)
class Best:
    """What the search says of one metric."""

    point: dict[str, Number]
    ranges: dict[str, Range]  # of each number with the others at the best point
    worse: float  # what a member of the set may lose against the best, two standard errors up
    flat: float  # chance that nothing searched matters
    promised: tuple[float, float]  # mean and sd of the surface at the point
    rates: list[float]  # of the curve: the surface at each rate, the rest at the best point
    mean: list[float]
    sd: list[float]

    def holds(self, params: Point) -> bool:
        """Return whether a point cannot be told from the best; only of a search of the rate."""
        return len(self.ranges) == 1 and self.ranges["dropout"].holds(params["dropout"])


@dataclass(frozen=True)
class Smoother:
    """The fit as weights on trainings, which can be put on any metric of the same trainings."""

    cells: tuple[tuple[int, int], ...]  # of each training: the number of its point, its seed
    rates: Array  # (m,) of the curve
    weights: Array  # (m, n)
    at_best: Array  # (n,) weights at the best point
    seeds: tuple[int, ...]
    seed_weights: Array  # (seeds, n)

    def over_rates(self, rows: Sequence[Row]) -> Array:
        """Return the curve of a metric less its value at the best point (m,); rows as fitted."""
        values = self._values(rows)
        return np.asarray(self.weights @ values - self.at_best @ values)

    def offsets(self, rows: Sequence[Row]) -> dict[int, float]:
        """Return by how much each seed lies above the rest in a metric."""
        luck = self.seed_weights @ self._values(rows)
        return dict(zip(self.seeds, luck.tolist(), strict=True))

    def _values(self, rows: Sequence[Row]) -> Array:
        return np.array([rows[i][seed] for i, seed in self.cells])


def find_best(
    points: Sequence[Point],
    rows: Sequence[Row],
    axes: Sequence[Axis],
    lost: Sequence[Point] = (),
) -> tuple[Best, Smoother]:
    """Fit the trials, rows of {seed: value} at points, and find the rate; axes[0] is dropout.

    Of points lost (failed or given up) no value is known: the answer is no nearer to one than to
    any that was trained. Where more than the rate is searched, the best is one of the points. Of
    more than MOST trainings only every so many-th trial is taken, which costs little there.
    """
    step = math.ceil(sum(map(len, rows)) / MOST)
    taken = range(0, len(points), step)
    fitted = _Fitted(points, rows, axes, taken)
    if len(axes) == 1:
        line = choices_along(axes[0], points[0], points)
        line = [c for c in line if is_trained_side(c, points, lost, axes)] or [dict(points[0])]
        surface = fitted.surface(line)
        lines = {axes[0].key: (line, surface)}
        point = line[surface.best]
    else:
        point = dict(points[taken[fitted.surface([points[i] for i in taken]).best]])
        lines = {}
        for axis in axes:
            line = [point, *choices_along(axis, point, points)]
            line = [c for c in line if c is point or is_trained_side(c, points, lost, axes)]
            lines[axis.key] = (line, fitted.surface(line, contenders=1))
    return _summed_up(fitted, axes, point, lines)


class _Fitted:
    """The trainings that are fitted, ready for candidates."""

    def __init__(
        self,
        points: Sequence[Point],
        rows: Sequence[Row],
        axes: Sequence[Axis],
        taken: Sequence[int],
    ) -> None:
        self.axes = axes
        self.points, self.rows = [points[i] for i in taken], [rows[i] for i in taken]
        self.cells = [(i, seed) for i in taken for seed in rows[i]]
        self.seeds = sorted({seed for _, seed in self.cells})
        self.steep = steepness(self.rows)
        self.rejected = rejected_points(self.points, self.rows) if len(axes) == 1 else []

    def surface(self, choices: Sequence[Point], contenders: int | None = None) -> Surface:
        """Fit, with some choices as candidates, of which the best is among the first contenders."""
        n_seeds = [len(row) for row in self.rows]
        y = np.array([value for row in self.rows for value in row.values()])
        seeds = np.array([self.seeds.index(seed) for _, seed in self.cells])
        at, candidates = places(self.axes, self.points), places(self.axes, choices)
        trainings = Trainings(
            np.repeat(at, n_seeds, 0),
            seeds,
            candidates,
            np.repeat(self.steep, n_seeds),
            self._steep_at(at, candidates),
        )
        return fit(trainings, y, contenders)

    def _steep_at(self, at: Array, candidates: Array) -> Array:
        """Return how steep the surface may be at candidates: between levels, or as the nearest."""
        if at.shape[1] == 1:
            levels, first = np.unique(at[:, 0], return_inverse=True)
            highest = np.array([self.steep[first == i].max() for i in range(len(levels))])
            if len(levels) == 1:
                return np.full(len(candidates), highest[0])
            within = candidates[:, 0].clip(levels[0], levels[-1])
            return np.asarray(PchipInterpolator(levels, highest)(within))  # without kinks
        distances = ((candidates[:, None] - at[None]) ** 2).sum(-1)
        return np.asarray(self.steep[distances.argmin(1)])


def _summed_up(
    fitted: _Fitted,
    axes: Sequence[Axis],
    point: dict[str, Number],
    lines: Mapping[str, tuple[list[dict[str, Number]], Surface]],
) -> tuple[Best, Smoother]:
    ranges, worse = {}, 0.0
    for axis in axes:
        line, surface = lines[axis.key]
        inside = _as_good(surface, line, fitted, axis)
        ranges[axis.key] = _range(axis, [c[axis.key] for c in line], inside)
        if axis.key == "dropout":
            rises = surface.mean - surface.mean[surface.best] + 2 * surface.apart
            worse = max(0.0, float(rises[inside].max()))
    line, surface = lines["dropout"]
    order = np.argsort([c["dropout"] for c in line], kind="stable")
    order = order[np.unique([line[i]["dropout"] for i in order], return_index=True)[1]]
    rates = np.array([line[i]["dropout"] for i in order], dtype=float)
    smoother = Smoother(
        tuple(fitted.cells),
        rates,
        surface.weights[order],
        surface.weights[surface.best],
        tuple(fitted.seeds),
        surface.seed_weights,
    )
    found = Best(
        point,
        ranges,
        worse,
        surface.flat,
        (float(surface.mean[surface.best]), float(surface.sd[surface.best])),
        rates.tolist(),
        surface.mean[order].tolist(),
        surface.sd[order].tolist(),
    )
    return found, smoother


def _as_good(
    surface: Surface, line: Sequence[Point], fitted: _Fitted, axis: Axis
) -> NDArray[np.intp]:
    """Return the candidates of the set; the best is always in it."""
    good = surface.as_good >= SET_LEVEL
    if fitted.rejected:
        others = [p for p in fitted.points if p not in fitted.rejected]
        good &= [is_trained_side(c, others, fitted.rejected, [axis]) for c in line]
    good[surface.best] = True
    return np.flatnonzero(good)


def _range(axis: Axis, values: Sequence[Number], inside: NDArray[np.intp]) -> Range:
    """Gather the values inside to islands: neighbours among the values hang together."""
    every = sorted(set(values))
    chosen = sorted({values[i] for i in inside})
    islands: list[tuple[Number, Number]] = []
    for value in chosen:
        before = every[every.index(value) - 1] if value != every[0] else None
        if islands and islands[-1][1] == before:
            islands[-1] = (islands[-1][0], value)
        else:
            islands.append((value, value))
    edge = None
    if len(set(axis.ends)) > 1:
        if chosen[0] == min(axis.ends) and chosen[0] > 0:
            edge = "low"
        if chosen[-1] == max(axis.ends):
            edge = "high"
    if axis.values:
        return Range(tuple(islands), edge, tuple(chosen), set(chosen) == set(axis.values))
    whole = len(islands) == 1 and islands[0] == (min(axis.ends), max(axis.ends))
    return Range(tuple(islands), edge, None, whole)
