"""Numbers as people write them: with the digits that mean something, and their unit."""

import math

from sweep.answer.row import Measure
from sweep.command.space import Number

POINTS = " points"  # of percent


def short(value: Number) -> str:
    """Write a number with as many digits as mean something."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def number(value: float, metric: str, beside: float | None = None) -> str:
    """Write a difference of a metric, in points of percent if it is a part of one."""
    if is_part(metric):
        return f"{100 * value:z.2f}{POINTS}"
    return f"{value:z.{decimals(value if beside is None else beside)}f}"


def interval_words(low: float, high: float, metric: str) -> str:
    """Write both ends of an interval alike, and their unit once."""
    first, last = (number(end, metric, max(abs(low), abs(high))) for end in (low, high))
    return f"{first.removesuffix(POINTS)} to {last}"


def plus_minus(measure: Measure, name: str = "loss") -> str:
    """Return mean ± standard error of a metric."""
    value = measure.best_mean
    scale, digits, unit = (100, 2, "%") if is_part(name) else (1, decimals(value), "")
    sem = "" if measure.sem is None else f" ± {scale * measure.sem:.{digits}f}"
    return f"{scale * value:z.{digits}f}{sem}{unit}"


def decimals(value: float) -> int:
    """Return the decimals of a loss: four, or as many as its first two digits need."""
    if not value or not math.isfinite(value):
        return 4
    first = math.floor(math.log10(abs(value)))
    return 4 if -3 <= first < 1 else 1 - first if first < 0 else max(0, 3 - first)


def is_part(metric: str) -> bool:
    """Return whether a metric is a part of one, and shown in percent."""
    return metric.rpartition("val_")[2].removeprefix("test_") not in ("loss", "rmse")


def words(metric: str | None) -> str:
    """Return a metric's name as people say it."""
    return (metric or "").replace("_", " ")
