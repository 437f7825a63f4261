"""Confirming the answer: the rate found against no dropout, on seeds that no search has seen.

Seeds are added at three looks until the verdict falls (answer.LOOKS); the test samples are read by
these trainings only, after their last epoch, and decide nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sweep.answer import LOOKS, Gain, gain
from sweep.progress import progress
from sweep.result import CONFIRMATION, Outcome, seeds_of
from sweep.training import SweepFailed, Training

CHOSEN, BASELINE = 0, -1  # numbers of the two points
Values = dict[str, list[float]]  # metric -> one for each seed


def confirm(
    training: Training,
    chosen: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Train both points on fresh seeds, pairs of them, and judge their difference.

    Where both are one point, or there is no baseline, the first look's seeds only give the value.
    """
    points = {CHOSEN: dict(chosen)}
    if baseline is not None and dict(baseline) != points[CHOSEN]:
        points[BASELINE] = dict(baseline)
    values: dict[int, Values] = {number: {} for number in points}
    seeds: list[int] = []
    verdict: Gain | None = None
    metric = training.plan.config.study.metric
    progress.start(0)
    for look, n in enumerate(LOOKS):
        generation = CONFIRMATION + look
        fresh = seeds_of(generation, n - len(seeds))
        config = training.plan.config
        progress.extend(len(points) * len(fresh) * config.train.epochs)
        outcomes = training.outcomes(generation, fresh, points, test=True)
        for outcome in outcomes.values():
            if outcome.error or outcome.diverged:
                raise SweepFailed(outcome.error or "the confirmation diverged: no verdict")
        seeds += fresh
        for number, outcome in outcomes.items():
            _extend(values[number], outcome)
        if BASELINE not in points:
            break
        pairs = zip(values[BASELINE][metric], values[CHOSEN][metric], strict=True)
        verdict = gain([without - with_it for without, with_it in pairs])
        if verdict.verdict != "no evidence":
            break
    return {
        "seeds": seeds,
        "chosen": {"params": points[CHOSEN], **values[CHOSEN]},
        "baseline": {"params": points[BASELINE], **values[BASELINE]}
        if BASELINE in points
        else None,
        "gain": vars(verdict) if verdict else None,
    }


def _extend(values: Values, outcome: Outcome) -> None:
    finals: Mapping[str, Sequence[float]] = {**outcome.finals(), **outcome.test}
    for metric, of_seeds in finals.items():
        values.setdefault(metric, []).extend(of_seeds)
