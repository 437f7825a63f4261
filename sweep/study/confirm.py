"""Confirms the answer: compares the best rate with no dropout, on seeds that the search never used.

Seeds are added at up to three looks until there is a verdict (answer.gain.LOOKS). Only these
trainings read the test samples, after their last epoch; they decide nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from sweep.answer.answer import opponent, rates_negligible, search
from sweep.answer.gain import LOOKS, Gain, gain
from sweep.errors import SweepFailed
from sweep.jobs.training import Points, Training, TrainingRequests
from sweep.work import CONFIRMATION, Outcome, seeds_of

CHOSEN, BASELINE = 0, -1  # numbers of the two points
FACTORS = (1 / 3, 3)  # on the learning rate: does the conclusion hold there?
Params = dict[str, Any]
Values = dict[str, list[float]]  # metric -> one for each seed


def confirm_answer(study: optuna.Study, training: Training) -> TrainingRequests[None]:
    """Record in the study what fresh seeds say of its answer, unless that is recorded already.

    Raises SweepFailed if a training diverged or failed.
    """
    chosen, baseline = contestants(study)
    known = study.user_attrs.get("confirmation")
    if not known or known["chosen"]["params"] != chosen:
        study.set_user_attr("robustness", None)
        study.set_user_attr("confirmation", None)  # in case the command is stopped now
        study.set_user_attr("confirmation", (yield from train_looks(training, chosen, baseline)))
    wanted = training.plan.config.study.robustness and not study.user_attrs.get("robustness")
    if wanted and baseline is not None and baseline != chosen:
        study.set_user_attr(
            "robustness", (yield from at_other_learning_rates(training, chosen, baseline))
        )


def contestants(study: optuna.Study) -> tuple[Params, Params | None]:
    """Return the best point and its baseline; the baseline twice if no dropout is best."""
    best = search(study)
    without = opponent(study, best)
    baseline = without and without["params"]
    if baseline is not None and rates_negligible(best.point):
        return baseline, baseline
    return dict(best.point), baseline


def train_looks(
    training: Training, chosen: Params, baseline: Params | None
) -> TrainingRequests[dict[str, Any]]:
    """Train both points on pairs of fresh seeds, and judge their difference.

    If there is only one point, the seeds of the first look measure it without a verdict.
    """
    points = {CHOSEN: chosen}
    if baseline is not None and baseline != chosen:
        points[BASELINE] = baseline
    values: dict[int, Values] = {number: {} for number in points}
    seeds: list[int] = []
    verdict: Gain | None = None
    metric = training.plan.config.study.metric
    for number, n in enumerate(LOOKS):
        fresh = seeds_of(CONFIRMATION + number, n - len(seeds))
        outcomes = yield from _train_points(
            training, CONFIRMATION + number, fresh, points, test=True
        )
        for outcome in outcomes.values():
            if outcome.error or outcome.diverged:
                raise SweepFailed(outcome.error or "the confirmation diverged: no verdict")
        seeds += fresh
        for point, outcome in outcomes.items():
            _extend_values(values[point], outcome)
        if BASELINE not in points:
            break
        verdict = _paired_gain(values[CHOSEN][metric], values[BASELINE][metric])
        if verdict.verdict != "no evidence":
            break
    return {
        "seeds": seeds,
        "chosen": {"params": chosen, **values[CHOSEN]},
        "baseline": {"params": baseline, **values[BASELINE]} if BASELINE in points else None,
        "gain": vars(verdict) if verdict else None,
    }


def at_other_learning_rates(
    training: Training, chosen: Params, baseline: Params
) -> TrainingRequests[list[dict[str, Any]]]:
    """Compare both points at other learning rates; `gain` is None if a training diverged."""
    config, generation = training.plan.config, CONFIRMATION + len(LOOKS)
    points = {}
    for i, factor in enumerate(FACTORS):
        for number, point in ((i, chosen), (-1 - i, baseline)):
            points[number] = point | {"train.lr": factor * point.get("train.lr", config.train.lr)}
    outcomes = yield from _train_points(
        training, generation, seeds_of(generation, LOOKS[0]), points
    )
    gains = []
    for i, factor in enumerate(FACTORS):
        pair, metric = (outcomes[i], outcomes[-1 - i]), config.study.metric
        whole = not any(outcome.error or outcome.diverged for outcome in pair)
        gained = vars(_paired_gain(*(o.finals()[metric] for o in pair))) if whole else None
        gains.append({"factor": factor, "lr": points[i]["train.lr"], "gain": gained})
    return gains


def _train_points(
    training: Training, generation: int, seeds: list[int], points: Points, test: bool = False
) -> TrainingRequests[dict[int, Outcome]]:
    n = len(points) * len(seeds) * training.plan.config.train.epochs
    training.bar.add_work(n, "confirmation")
    return (yield from training.outcomes(generation, seeds, points, test))


def _paired_gain(chosen: Sequence[float], baseline: Sequence[float]) -> Gain:
    return gain([without - with_it for with_it, without in zip(chosen, baseline, strict=True)])


def _extend_values(values: Values, outcome: Outcome) -> None:
    finals: Mapping[str, Sequence[float]] = {**outcome.finals(), **outcome.test}
    for metric, of_seeds in finals.items():
        values.setdefault(metric, []).extend(of_seeds)
