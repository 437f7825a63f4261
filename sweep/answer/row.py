"""What was trained at each point of a study, read once from Optuna's storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweep.answer.variance import mean_and_sem
from sweep.command.space import Axis, Number

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
    end_slopes: tuple[float, ...] = ()  # of each seed's validation loss, over the last fifth
    half_slopes: tuple[float, ...] = ()  # over the last half
    noise_tax: float | None = None  # training loss with dropout on less off
    execution: dict[str, Any] = field(default_factory=dict)  # how its trainings were run
    member_epochs_per_second: float | None = None

    @property
    def rate(self) -> Number:
        return self.params["dropout"]

    def by_seed(self, metric: str) -> dict[int, float]:
        return dict(zip(self.seeds, self.metrics[metric].of_seeds, strict=True))


def read_rows(study: optuna.Study) -> list[Row]:
    """Return the trials in Optuna's order, then the baselines that were trained beside them."""
    rows = [_trial_row(trial) for trial in study.get_trials(deepcopy=False)]
    attrs = sorted(study.user_attrs.items())
    for _, points in ((k, v) for k, v in attrs if k.startswith("baselines:")):
        rows += [_trained(point, point["params"], None) for point in points]
    for _, points in ((k, v) for k, v in attrs if k.startswith("failed:")):
        rows += [Row(params, None, FAILED) for params in points]
    return rows


def _trial_row(trial: FrozenTrial) -> Row:
    if trial.state == TrialState.COMPLETE:
        return _trained(trial.user_attrs["trained"], trial.params, trial.number)
    reason = trial.user_attrs.get("reason")
    return Row(trial.params, trial.number, trial.state.name.lower(), reason)


def _trained(summary: Mapping[str, Any], params: dict[str, Number], number: int | None) -> Row:
    return Row(
        params,
        number,
        seeds=tuple(summary["seeds"]),
        metrics={name: measured(summary[name]) for name in summary["metrics"]},
        curves=summary["curves"],
        lowest_epoch=summary["lowest_epoch"],
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
