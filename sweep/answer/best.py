"""The statistics: which rate, how sure, is dropout worth it, and what goes wrong beside it.

Pure functions of numbers, no torch; smaller values are better.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.stats import qmc

from sweep.answer.surface import Array, Surface, fit
from sweep.answer.variance import far_above
from sweep.command.space import Axis, Number

SET_LEVEL = 0.025  # a rate stays in the set while its chance to be no worse is at least this
NOTHING = 0.02  # a best rate below this is no dropout
MOST = 1000  # trainings that the surface is fitted to: its time grows with their cube
RATES = 81  # candidates of a searched interval: steps of 0.01 on [0, 0.8]
RATES_OF_SEVERAL, OTHERS = 33, 64  # candidates where more than the rate is searched


@dataclass(frozen=True)
class Range:
    """The values of one searched number that cannot be told from the best (95%)."""

    low: Number
    high: Number
    edge: str | None  # "low" or "high": the bound of the search that cuts it off
    values: list[Number] | None  # each of them where a list was searched


@dataclass(frozen=True)
class Best:
    """What the search says."""

    point: dict[str, Number]
    ranges: dict[str, Range]
    flat: float  # chance that nothing searched matters
    rates: list[float]  # of the curve: the loss at each rate, the rest at its best there
    mean: list[float]
    sd: list[float]
    offsets: dict[int, float]  # of each seed: what was taken off its values


def best(
    points: Sequence[Mapping[str, Number]],
    rows: Sequence[Mapping[int, float]],
    axes: Sequence[Axis],
    given_up: Sequence[Mapping[str, Number]] = (),
    failed: Sequence[Mapping[str, Number]] = (),
) -> Best:
    """Fit the trials, rows of {seed: value} at points, and find the rate; axes[0] is dropout.

    The wall at high rates would bend any smooth curve: values far above the rest are cut there.
    Of points given_up no value is known, so the answer lies on this side of them; nor is it nearer
    to one that failed than to any that was trained. Of more than MOST trainings only every so
    many-th trial is taken, which costs little where there are so many.
    """
    every, step = points, math.ceil(sum(map(len, rows)) / MOST)
    points, rows = points[::step], rows[::step]
    means = [fmean(row.values()) for row in rows]
    # the first generation is spread over all of the search, so it tells what is far
    cap = far_above([m for m, row in zip(means, rows, strict=True) if row.keys() & rows[0].keys()])
    cut = [{seed: min(value, cap) for seed, value in row.items()} for row in rows]
    choices = _trained(candidates(axes, points), every, failed, axes)
    if given_up and len(axes) == 1:
        choices = _this_side(choices, points, [*points, *given_up], axes[0].key)
    surface, offsets = _surface(points, cut, axes, choices)
    inside, shown = _as_good(surface, choices), choices
    heard = [i for i, mean in enumerate(means) if mean <= cap]
    if len(axes) == 1 and len(heard) < len(rows):
        # where the curve turns into the wall the cut levels bend it too; without them it is free
        near = shown = _this_side(choices, [points[i] for i in heard], points, axes[0].key)
        some, others = [points[i] for i in heard], [rows[i] for i in heard]
        inside += _as_good(_surface(some, others, axes, near)[0], near)
    return Best(
        choices[surface.best],
        {axis.key: _range(axis, [c[axis.key] for c in inside]) for axis in axes},
        surface.flat,
        *_profile(choices, surface, {point["dropout"] for point in shown}),
        offsets,
    )


def _surface(
    points: Sequence[Mapping[str, Number]],
    rows: Sequence[Mapping[int, float]],
    axes: Sequence[Axis],
    choices: Sequence[Mapping[str, Number]],
) -> tuple[Surface, dict[int, float]]:
    """Fit the surface; return it with the offset of each seed."""
    seeds = sorted({seed for row in rows for seed in row})
    cells = [(i, seeds.index(s), value) for i, row in enumerate(rows) for s, value in row.items()]
    trial, seed, y = (np.array(column) for column in zip(*cells, strict=True))
    surface = fit(_places(axes, points)[trial], seed, y, _places(axes, choices))
    return surface, dict(zip(seeds, surface.offsets.tolist(), strict=True))


def _as_good(surface: Surface, choices: list[dict[str, Number]]) -> list[dict[str, Number]]:
    return [c for c, chance in zip(choices, surface.as_good, strict=True) if chance >= SET_LEVEL]


def _trained(
    choices: list[dict[str, Number]],
    points: Sequence[Mapping[str, Number]],
    failed: Sequence[Mapping[str, Number]],
    axes: Sequence[Axis],
) -> list[dict[str, Number]]:
    """Return the choices of trained values of lists, no nearer to what failed than to points.

    Where choices lie too far apart for that, the nearest one stands for the points.
    """
    listed = {axis.key: {point[axis.key] for point in points} for axis in axes if axis.values}
    choices = [c for c in choices if all(c[key] in known for key, known in listed.items())]
    if not failed:
        return choices
    near, far = (
        KDTree(_places(axes, some)).query(_places(axes, choices))[0] for some in (points, failed)
    )
    inside = [c for c, a, b in zip(choices, near, far, strict=True) if a <= b + 1e-9]
    return inside or [choices[int(np.argmin(near))]]


def _this_side(
    choices: list[dict[str, Number]],
    heard: Sequence[Mapping[str, Number]],
    points: Sequence[Mapping[str, Number]],
    key: str,
) -> list[dict[str, Number]]:
    """Return the choices among the levels heard, and half way on to the next that was cut.

    Where the levels lie closer than the choices, the nearest one stands for them.
    """
    low, high = min(p[key] for p in heard), max(p[key] for p in heard)
    below = max((p[key] for p in points if p[key] < low), default=low)
    above = min((p[key] for p in points if p[key] > high), default=high)
    inside = [c for c in choices if (below + low) / 2 <= c[key] <= (above + high) / 2]
    return inside or [min(choices, key=lambda c: abs(c[key] - low))]


def _places(axes: Sequence[Axis], points: Sequence[Mapping[str, Number]]) -> Array:
    return np.array([[unit(axis, point[axis.key]) for axis in axes] for point in points])


def unit(axis: Axis, value: Number) -> float:
    """Place a value on the axis scaled to [0, 1]."""
    low, high = min(axis.ends), max(axis.ends)
    if low == high:
        return 0.0
    if axis.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def candidates(
    axes: Sequence[Axis], points: Sequence[Mapping[str, Number]]
) -> list[dict[str, Number]]:
    """Return what may be the best: every rate with what else was tried and points in between."""
    rate, *others = axes
    n = RATES_OF_SEVERAL if others else RATES
    even = np.linspace(min(rate.ends), max(rate.ends), n).round(6).tolist()
    rests: list[dict[str, Number]] = [{}]
    if others:
        spread = qmc.Sobol(len(others), scramble=False).random(OTHERS)
        rests = [{a.key: _at(a, u) for a, u in zip(others, row, strict=True)} for row in spread]
        rests += [{axis.key: point[axis.key] for axis in others} for point in points]
    return [{rate.key: r, **rest} for r in (rate.values or even) for rest in rests]


def _at(axis: Axis, place: float) -> Number:
    """Return the value at a place in [0, 1], the inverse of `unit`."""
    if axis.values:
        return axis.values[min(int(place * len(axis.values)), len(axis.values) - 1)]
    low, high = axis.ends
    value = low * (high / low) ** place if axis.log else low + (high - low) * place
    return round(value) if isinstance(low, int) else value


def _range(axis: Axis, inside: Sequence[Number]) -> Range:
    low, high = min(inside), max(inside)
    edge = None
    if low == min(axis.ends) and low > 0:
        edge = "low"
    if high == max(axis.ends):
        edge = "high"
    values = sorted(set(inside)) if axis.values else None
    return Range(low, high, edge if len(set(axis.ends)) > 1 else None, values)


def _profile(
    choices: Sequence[Mapping[str, Number]], surface: Surface, shown: set[Number]
) -> tuple[list[float], list[float], list[float]]:
    """Return rates, and the mean and sd at each with the rest at its best there."""
    rates = sorted(shown)
    of = np.array([c["dropout"] for c in choices])
    lowest = [_lowest(surface.mean, np.flatnonzero(of == rate)) for rate in rates]
    return rates, surface.mean[lowest].tolist(), surface.sd[lowest].tolist()


def _lowest(mean: Array, rows: NDArray[np.intp]) -> int:
    return int(rows[np.argmin(mean[rows])])
