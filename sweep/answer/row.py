"""What was trained at each point of a study, read once from Optuna's storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweep.answer.variance import mean_and_sem
from sweep.command.space import Axis, Number
from sweep.work import LOWEST, SEEDS_APART

COMPLETE, PRUNED, FAILED = "complete", "pruned", "fail"


@dataclass(frozen=True)
class Measure:
    """One metric of the trainings of a point, after the last epoch, with dropout off."""

    mean: float
    sem: float | None  # standard error of the mean; None for a single seed
    of_seeds: tuple[float, ...]
    adjusted: float | None = None  # the mean less what its seeds cost or gain whatever is trained

    @property
    def best_mean(self) -> float:
        """The adjusted mean where it is known."""
        return self.mean if self.adjusted is None else self.adjusted


@dataclass(frozen=True)
class Fit:
    """What a point loses against the best one, in the searched metric: the two parts add up."""

    label: str | None  # underfits | overfits; None inside the set
    train_part: float  # because it fits the training samples worse
    gap_part: float  # because it carries over less to other samples


@dataclass(frozen=True)
class Row:
    """A point of the search with all that is known of its trainings."""

    params: dict[str, Number]
    number: int | None  # Optuna's; None for a baseline, trained in addition to the trials
    state: str = COMPLETE  # complete | pruned | fail
    reason: str | None = None  # it is not complete
    seeds: tuple[int, ...] = ()
    metrics: dict[str, Measure] = field(default_factory=dict)
    fit: Fit | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)  # means of each epoch
    lowest_epoch: int | None = None  # of the mean validation loss, from 1
    lowest: tuple[float, ...] = ()  # the searched metric at each training's own best epoch
    end_slopes: tuple[float, ...] = ()  # of each seed's validation loss, over the last fifth
    half_slopes: tuple[float, ...] = ()  # over the last half
    noise_tax: float | None = None  # training loss with dropout on less off
    execution: dict[str, Any] = field(default_factory=dict)  # how its trainings were run
    member_epochs_per_second: float | None = None

    @property
    def rate(self) -> Number:
        return self.params["dropout"]

    @property
    def generation(self) -> int:
        """That whose seeds it was trained with."""
        return self.seeds[0] // SEEDS_APART

    def by_seed(self, metric: str) -> dict[int, float]:
        return dict(zip(self.seeds, self.metrics[metric].of_seeds, strict=True))


def read_rows(study: optuna.Study) -> list[Row]:
    """Return the trials in Optuna's order, then the baselines that were trained beside them."""
    return [row for _, row in numbered_rows(study)]


def numbered_rows(study: optuna.Study) -> list[tuple[int, Row]]:
    """Return the rows with the numbers that jobs know them by: below 0 for the baselines."""
    attrs = study.user_attrs
    rows = [(trial.number, _trial_row(trial)) for trial in study.get_trials(deepcopy=False)]
    baselines = sorted((key, of) for key, of in attrs.items() if key.startswith("baselines:"))
    for _, points in baselines:
        rows += [(-1 - i, _trained(p, p["params"], None)) for i, p in enumerate(points)]
    for _, points in sorted((key, of) for key, of in attrs.items() if key.startswith("failed:")):
        rows += [(-1, Row(params, None, FAILED)) for params in points]
    return [(number, _with_added(number, row, attrs)) for number, row in rows]


def _trial_row(trial: FrozenTrial) -> Row:
    if trial.state == TrialState.COMPLETE:
        return _trained(trial.user_attrs["trained"], trial.params, trial.number)
    reason = trial.user_attrs.get("reason")
    return Row(trial.params, trial.number, trial.state.name.lower(), reason)


def added_key(generation: int, number: int, n_before: int) -> str:
    """Return the study's attribute with the seeds that were added to those a point had."""
    return f"added:{generation}:{number}:{n_before}"


def _with_added(number: int, row: Row, attrs: Mapping[str, Any]) -> Row:
    """Return a row with the seeds that were added to it; it failed if one of them did."""
    while row.seeds:
        added = attrs.get(added_key(row.generation, number, len(row.seeds)))
        if added is None:
            return row
        if "reason" in added:
            return Row(row.params, row.number, FAILED, added["reason"])
        row = _joined(row, _trained(added, row.params, row.number))
    return row


def _joined(row: Row, other: Row) -> Row:
    """Return the trainings of one point on different seeds as one row."""
    n, m = len(row.seeds), len(other.seeds)
    curves = {
        name: [(n * a + m * b) / (n + m) for a, b in zip(curve, other.curves[name], strict=True)]
        for name, curve in row.curves.items()
    }
    losses, taxes = curves["val_loss"], (row.noise_tax or 0.0, other.noise_tax or 0.0)
    return replace(
        pooled_row([row, other]),
        curves=curves,
        lowest_epoch=losses.index(min(losses)) + 1,
        lowest=row.lowest + other.lowest,
        end_slopes=row.end_slopes + other.end_slopes,
        half_slopes=row.half_slopes + other.half_slopes,
        noise_tax=(n * taxes[0] + m * taxes[1]) / (n + m),
    )


def _trained(summary: Mapping[str, Any], params: dict[str, Number], number: int | None) -> Row:
    return Row(
        params,
        number,
        seeds=tuple(summary["seeds"]),
        metrics={name: measured(summary[name]) for name in summary["metrics"]},
        curves=summary["curves"],
        lowest_epoch=summary["lowest_epoch"],
        lowest=tuple(summary[LOWEST]),
        end_slopes=tuple(summary["end_slopes"]),
        half_slopes=tuple(summary["half_slopes"]),
        noise_tax=fmean(summary["noise_tax"]),
        execution=summary["execution"],
        member_epochs_per_second=summary["member_epochs_per_second"],
    )


def measured(of_seeds: Sequence[float]) -> Measure:
    return Measure(*mean_and_sem(of_seeds), tuple(of_seeds))


def complete_rows(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.state == COMPLETE]


def pooled_row(alike: Sequence[Row]) -> Row:
    """Return the rows of one point as one, with the seeds of all."""
    names = alike[0].metrics
    return replace(
        alike[0],
        seeds=tuple(seed for row in alike for seed in row.seeds),
        metrics={m: measured([v for row in alike for v in row.metrics[m].of_seeds]) for m in names},
    )


def adjusted_row(row: Row, offsets: Mapping[str, Mapping[int, float]]) -> Row:
    """Return a row without the luck of its seeds; offsets {metric: {seed: what it costs}}."""
    measures = dict(row.metrics)
    for metric, of_seeds in offsets.items():
        if metric in measures:
            luck = fmean(of_seeds.get(seed, 0.0) for seed in row.seeds)
            mean = measures[metric].mean
            measures[metric] = replace(measures[metric], adjusted=mean - luck)
    return replace(row, metrics=measures)


def searched_axes(study: optuna.Study) -> list[Axis]:
    """Return what is searched, dropout first."""
    space = study.user_attrs["fingerprint"]["space"]
    found = [Axis(key, **{**axis, "values": tuple(axis["values"])}) for key, axis in space.items()]
    return sorted(found, key=lambda axis: axis.key)
