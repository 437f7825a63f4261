"""What validation losses did over the epochs. Pure functions of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

END, HALF = 5, 2  # the last part of the epochs: one in so many
FEWEST = 3  # epochs of a part


@dataclass(frozen=True)
class OverTime:
    """Where the mean over seeds was lowest, and how each seed's losses end."""

    lowest_epoch: int  # from 1
    end_slopes: list[float]  # of each seed, by least squares over the last fifth of the epochs
    half_slopes: list[float]  # over the last half


def over_time(curve: Sequence[Sequence[float]]) -> OverTime:
    """Look at validation losses (epochs, S)."""
    means = [fmean(values) for values in curve]
    return OverTime(means.index(min(means)) + 1, _slopes(curve, END), _slopes(curve, HALF))


def _slopes(curve: Sequence[Sequence[float]], part: int) -> list[float]:
    tail = curve[-max(FEWEST, math.ceil(len(curve) / part)) :]
    return [
        linear_regression(range(len(tail)), values).slope if len(tail) > 1 else 0.0
        for values in zip(*tail, strict=True)
    ]
