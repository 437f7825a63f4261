"""Whether dropout is worth it: paired differences on fresh seeds, tested at several looks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.stats import ttest_1samp

LOOKS = (5, 8, 12)  # seeds of the confirmation after which the verdict may fall
LOOK_LEVEL = 0.022  # two-sided, at each look: 5% over all three (simulated: scripts/simulate.py)


@dataclass(frozen=True)
class Gain:
    """By how much the chosen point beats no dropout: positive is better."""

    value: float
    low: float | None  # of the interval, 95% over all looks; None for a single seed
    high: float | None
    seeds: int
    verdict: str  # helps | hurts | no evidence
    needed: int | None  # seeds that would resolve a difference of this size, if these did not


def gain(differences: Sequence[float]) -> Gain:
    """Judge paired differences, baseline less chosen, by Student's t at the level of one look."""
    n, value = len(differences), fmean(differences)
    if n < 2:
        return Gain(value, None, None, n, "no evidence", None)
    sd = stdev(differences)
    interval = ttest_1samp(differences, 0).confidence_interval(1 - LOOK_LEVEL)
    low, high = float(interval.low), float(interval.high)
    verdict = "helps" if low > 0 else "hurts" if high < 0 else "no evidence"
    needed = None
    if verdict == "no evidence" and math.isfinite(high) and value != 0:
        # (z(1 - level / 2) + z(0.8))^2 sd^2 / difference^2: found in four of five confirmations
        needed = math.ceil((2.29 + 0.84) ** 2 * sd**2 / value**2)
    return Gain(value, low, high, n, verdict, needed)
