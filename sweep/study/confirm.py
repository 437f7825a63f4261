"""Confirms the answer: compares the best rate with no dropout, on seeds that the search never used.

Seeds are added at up to three looks until there is a verdict (answer.gain.LOOKS). Only these
trainings read the test samples, after their last epoch; they decide nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from sweep.answer.confirmation import samples_sem, with_nan
from sweep.answer.findings import Findings, rates_negligible, read_findings
from sweep.answer.gain import LOOKS, judge
from sweep.answer.row import complete_rows
from sweep.errors import SweepFailed
from sweep.jobs.training import Points, Training, TrainingRequests
from sweep.work import CONFIRMATION, CONFIRMATION_GENERATIONS, LOWEST, Outcome, lowest, seeds_of

CHOSEN, BASELINE = 0, -1  # numbers of the two points
FACTORS = (1 / 3, 3)  # on the learning rate: does the conclusion hold there?
Params = dict[str, Any]
Values = dict[str, list[float | None]]  # metric -> one for each seed; None diverged


def confirm_answer(study: optuna.Study, training: Training) -> TrainingRequests[None]:
    """Record in the study what fresh seeds say of its answer, unless that is recorded already.

    Raises SweepFailed if a training failed.
    """
    chosen, baseline = contestants(read_findings(study))
    known = study.user_attrs.get("confirmation")
    if not known or known["chosen"]["params"] != chosen:
        attempt = study.user_attrs.get("attempts", 0)
        if known:  # the answer moved: other seeds, and a stricter test
            study.set_user_attr("attempts", attempt := attempt + 1)
        study.set_user_attr("robustness", None)
        study.set_user_attr("confirmation", None)  # in case the command is stopped now
        confirmed = yield from train_looks(training, chosen, baseline, attempt)
        study.set_user_attr("confirmation", confirmed)
    wanted = training.plan.config.study.robustness and not study.user_attrs.get("robustness")
    if wanted and baseline is not None and baseline != chosen:
        attempt = study.user_attrs["confirmation"]["attempt"] - 1
        found = yield from at_other_learning_rates(training, chosen, baseline, attempt)
        study.set_user_attr("robustness", found)


def contestants(found: Findings) -> tuple[Params, Params | None]:
    """Return the best point and its baseline.

    If no dropout looks best, the best point with dropout that was trained stands against it.
    """
    zero = found.opponent
    if zero is None or not rates_negligible(found.best.point):
        return dict(found.best.point), dict(zero.params) if zero else None
    others = [row for row in complete_rows(found.rows) if not rates_negligible(row.params)]
    with_dropout = min(others, key=lambda row: row.metrics[found.metric].best_mean, default=zero)
    return dict(with_dropout.params), dict(zero.params)


def train_looks(
    training: Training, chosen: Params, baseline: Params | None, attempt: int = 0
) -> TrainingRequests[dict[str, Any]]:
    """Train both points on pairs of fresh seeds until a look ends it.

    If there is only one point, it is measured on the seeds of the first look. What diverged is
    null.
    """
    points = {CHOSEN: chosen}
    if baseline is not None and baseline != chosen:
        points[BASELINE] = baseline
    values: dict[int, Values] = {number: {} for number in points}
    looks: list[dict[int, Outcome]] = []
    seeds: list[int] = []
    metric = training.plan.config.study.metric
    for generation, look in enumerate(LOOKS, CONFIRMATION + CONFIRMATION_GENERATIONS * attempt):
        fresh = seeds_of(generation, look.seeds - len(seeds))
        outcomes = yield from _train_points(training, generation, fresh, points, test=True)
        for outcome in outcomes.values():
            if outcome.error:
                raise SweepFailed(outcome.error)
        seeds += fresh
        looks.append(outcomes)
        for point, outcome in outcomes.items():
            _extend_values(values[point], outcome, metric)
        if BASELINE not in points:
            break
        given, without = (with_nan(values[point][metric]) for point in (CHOSEN, BASELINE))
        if judge(metric, given, without, share=0.5**attempt).final:
            break
    return {
        "attempt": attempt + 1,
        "seeds": seeds,
        "chosen": {"params": chosen, **values[CHOSEN]},
        "baseline": {"params": baseline, **values[BASELINE]} if BASELINE in points else None,
        "samples": _over_samples(looks) if BASELINE in points else None,
    }


def _over_samples(looks: Sequence[Mapping[int, Outcome]]) -> dict[str, Any]:
    """Return how sure the mean difference of each metric is over samples, with these seeds."""
    split = "test" if looks[0][CHOSEN].test else "val"
    n_seeds = [len(look[CHOSEN].seeds) for look in looks]
    sems = {}
    for metric in looks[0][CHOSEN].samples:
        each = [
            np.subtract(look[BASELINE].samples[metric], look[CHOSEN].samples[metric])
            for look in looks
        ]
        sems[metric] = samples_sem(np.average(each, axis=0, weights=n_seeds).tolist())
    return {"split": split, "sem": sems}


def at_other_learning_rates(
    training: Training, chosen: Params, baseline: Params, attempt: int = 0
) -> TrainingRequests[list[dict[str, Any]]]:
    """Train both points at other learning rates, on the seeds of the first look.

    A rate at which a training failed has no points.
    """
    config, first = training.plan.config, CONFIRMATION + CONFIRMATION_GENERATIONS * attempt
    points = {}
    for i, factor in enumerate(FACTORS):
        for number, point in ((i, chosen), (-1 - i, baseline)):
            points[number] = point | {"train.lr": factor * point.get("train.lr", config.train.lr)}
    seeds = seeds_of(first, LOOKS[0].seeds)
    outcomes = yield from _train_points(training, first + len(LOOKS), seeds, points)
    found = []
    for i in range(len(FACTORS)):
        pair = outcomes[i], outcomes[-1 - i]
        record: dict[str, Any] = {"lr": points[i]["train.lr"], "chosen": None, "baseline": None}
        if not any(outcome.error for outcome in pair):
            for name, outcome in zip(("chosen", "baseline"), pair, strict=True):
                record[name] = {"params": outcome.params}
                _extend_values(record[name], outcome, config.study.metric)
        found.append(record)
    return found


def _train_points(
    training: Training, generation: int, seeds: list[int], points: Points, test: bool = False
) -> TrainingRequests[dict[int, Outcome]]:
    n = len(points) * len(seeds) * training.plan.config.train.epochs
    training.add_expected(n, "confirmation")
    return (yield from training.outcomes(generation, seeds, points, test))


def _extend_values(values: Values, outcome: Outcome, metric: str) -> None:
    """Add an outcome's seeds to the metrics after the last epoch, and to the lowest searched."""
    finals = {**outcome.finals(), **outcome.test, LOWEST: lowest(outcome.curves[metric])}
    for name, of_seeds in finals.items():
        known = [value if math.isfinite(value) else None for value in of_seeds]
        values.setdefault(name, []).extend(known)
