"""What the search of a study found, from one reading of its trials and one fit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import optuna

from sweep.answer.best import NOTHING, Best, Smoother, find_best
from sweep.answer.row import (
    COMPLETE,
    Fit,
    Row,
    adjusted_row,
    complete_rows,
    pooled_row,
    read_rows,
    searched_axes,
)
from sweep.command.rate import all_rates_zero, is_rate
from sweep.command.space import Axis, Number


@dataclass(frozen=True)
class Parts:
    """What each rate loses against the best one in the searched metric, on the fitted curves."""

    rates: list[float]
    train: list[float]  # because it fits the training samples worse
    gap: list[float]  # because it carries over less to other samples

    def at(self, rate: float) -> tuple[float, float]:
        train, gap = (float(np.interp(rate, self.rates, part)) for part in (self.train, self.gap))
        return train, gap


@dataclass(frozen=True)
class Findings:
    """The trials and baselines of a study, and the surface fitted to them."""

    metric: str
    axes: tuple[Axis, ...]
    rows: tuple[Row, ...]  # trials in Optuna's order, then baselines
    best: Best
    early: Best  # if of each training the best epoch were kept
    parts: Parts
    opponent: Row | None  # the best of what was trained without dropout, its seeds pooled


def read_findings(study: optuna.Study) -> Findings:
    """Read a study with at least one complete trial, and fit its surface."""
    metric, axes = study.user_attrs["fingerprint"]["metric"], searched_axes(study)
    rows = read_rows(study)
    fitted = [row for row in complete_rows(rows) if _is_searched(row, axes)]
    lost = [row.params for row in rows if row.state != COMPLETE and _is_searched(row, axes)]
    points = [row.params for row in fitted]
    found, smoother = find_best(points, [row.by_seed(metric) for row in fitted], axes, lost)
    lowest = [dict(zip(row.seeds, row.lowest, strict=True)) for row in fitted]
    early, _ = find_best(points, lowest, axes, lost)
    names = fitted[0].metrics
    offsets = {name: smoother.offsets([row.by_seed(name) for row in fitted]) for name in names}
    parts = _parts(smoother, fitted, metric)
    adjusted = [adjusted_row(row, offsets) if row.seeds else row for row in rows]
    zero = [row for row in complete_rows(adjusted) if all_rates_zero(row.params)]
    opponent = _opponent(zero, offsets, metric)
    labelled = [
        _labelled(row, found, parts) if row.seeds and _is_searched(row, axes) else row
        for row in adjusted
    ]
    return Findings(metric, tuple(axes), tuple(labelled), found, early, parts, opponent)


def _is_searched(row: Row, axes: Sequence[Axis]) -> bool:
    """Return whether a row is a trial, or a baseline that lies inside the search."""
    if row.number is not None:
        return True
    return all(min(axis.ends) <= row.params[axis.key] <= max(axis.ends) for axis in axes)


def _parts(smoother: Smoother, rows: Sequence[Row], metric: str) -> Parts:
    """Put the weights of the fit on training: what is left of the validation is the gap."""
    val, train = (
        smoother.over_rates([row.by_seed(name) for row in rows])
        for name in (metric, metric.replace("val_", "train_"))
    )
    return Parts(smoother.rates.tolist(), train.tolist(), (val - train).tolist())


def _labelled(row: Row, found: Best, parts: Parts) -> Row:
    """Say what a rate outside the set loses most of, if only the rate is searched."""
    if len(found.ranges) > 1:
        return row
    train, gap = parts.at(row.rate)
    label = None if found.holds(row.params) else "underfits" if train >= gap else "overfits"
    return replace(row, fit=Fit(label, train, gap))


def _opponent(
    zero: Sequence[Row], offsets: Mapping[str, Mapping[int, float]], metric: str
) -> Row | None:
    """Return the best of the baselines, their luck taken off.

    Picking the luckiest of equal baselines would be unfair to dropout.
    """
    same: dict[str, list[Row]] = {}
    for row in zero:
        same.setdefault(json.dumps(row.params, sort_keys=True), []).append(row)
    pools = [adjusted_row(pooled_row(alike), offsets) for alike in same.values()]
    return min(pools, key=lambda row: row.metrics[metric].best_mean, default=None)


def rates_negligible(params: Mapping[str, Number]) -> bool:
    """Return whether the rates of a point are so low that it is no dropout."""
    return all(value < NOTHING for key, value in params.items() if is_rate(key))
