"""Under- and overfitting: what a trial's loss is made of, and what it did while it trained.

Pure functions of numbers, dropout off. For any two rates, exactly,
    val(d) - val(best) = [train(d) - train(best)] + [gap(d) - gap(best)]:
what a rate loses because it fits the training samples worse, and because it carries over less.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from sweep.answer.variance import mean_and_sem

Row = Mapping[int, float]  # {seed: value}
CLEAR = 2  # standard errors


@dataclass(frozen=True)
class Fit:
    """A trial compared with the best of its generation."""

    label: str | None  # underfits | overfits | neither; None if there is only one seed
    train_part: float
    gap_part: float


def fit(row: Mapping[str, Row], reference: Mapping[str, Row], noise: Mapping[str, float]) -> Fit:
    """Compare {metric: {seed: value}} of two trials over the seeds that they share.

    noise is the sd of one training for each metric, pooled over the generation: with few seeds a
    standard error of their own may come out far too small. A trial is labelled if its loss is
    clearly above the reference's, by the larger part that is clear.
    """
    parts, clear = {}, {}
    for metric in ("val_loss", "train_loss", "gap"):
        shared = row[metric].keys() & reference[metric].keys()
        part, own = mean_and_sem([row[metric][s] - reference[metric][s] for s in sorted(shared)])
        sem = max(own or 0.0, noise[metric] * math.sqrt(2 / len(shared)))
        parts[metric], clear[metric] = part, part > CLEAR * sem > 0
    label = "neither" if any(noise.values()) else None
    if clear["val_loss"]:
        if clear["train_loss"] and parts["train_loss"] >= parts["gap"]:
            label = "underfits"
        elif clear["gap"]:
            label = "overfits"
    return Fit(label, parts["train_loss"], parts["gap"])


def over_time(curve: Sequence[Sequence[float]]) -> dict[str, object]:
    """Look at validation losses (epochs, S): where their mean was lowest, and how they end.

    `rise` is each seed's loss at the end less that at the lowest mean, `slope` its least-squares
    slope over the last fifth of the epochs, three at least.
    """
    means = [fmean(values) for values in curve]
    lowest = means.index(min(means))
    tail = curve[-max(3, math.ceil(len(curve) / 5)) :]
    return {
        "lowest_epoch": lowest + 1,
        "rise": [last - low for last, low in zip(curve[-1], curve[lowest], strict=True)],
        "slope": [_slope(values) for values in zip(*tail, strict=True)],
    }


def _slope(values: Sequence[float]) -> float:
    return linear_regression(range(len(values)), values).slope if len(values) > 1 else 0.0


def clearly_above_zero(values: Sequence[float]) -> bool:
    """Return whether a mean exceeds two standard errors; false for a single value."""
    mean, sem = mean_and_sem(values)
    return sem is not None and mean > CLEAR * sem
