"""Whether dropout is worth it: paired differences on fresh seeds, judged at up to three looks.

Pure functions of numbers; smaller values are better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy.special import stdtrit
from scipy.stats import binomtest

HELPS, HURTS, NO_EVIDENCE = "helps", "hurts", "no evidence"


@dataclass(frozen=True)
class Look:
    """A moment of the confirmation at which it may end."""

    seeds: int  # in all
    level: float  # two-sided, of the test
    futile: float  # it ends for nothing if |t| is below this


# size 0.050, power 0.84 at one sd of the differences (simulated: scripts/simulate_gain.py)
LOOKS = (Look(5, 0.0083, 0.7), Look(8, 0.0166, 1.2), Look(12, 0.0414, 0.0))


@dataclass(frozen=True)
class Gain:
    """By how much the chosen point beats no dropout in one metric: positive is better."""

    metric: str
    value: float | None  # the mean over pairs of which both ended; None if there are none
    low: float | None  # of the interval, 95% over all looks; None for less than two pairs
    high: float | None
    seeds: int
    verdict: str | None  # helps | hurts | no evidence; None: not tested
    final: bool  # whether the confirmation ends with it
    diverged: tuple[int, int] = (0, 0)  # trainings with dropout and without

    @property
    def bound(self) -> float | None:
        """The largest difference, either way, that the interval leaves open."""
        return None if self.low is None or self.high is None else max(-self.low, self.high)


def judge(
    metric: str,
    chosen: Sequence[float],
    baseline: Sequence[float],
    tested: bool = True,
    share: float = 1.0,
) -> Gain:
    """Judge pairs of trainings, one of each point a seed, by Student's t at the level of a look.

    A number that is not finite diverged. If any did, the t test means nothing: the signs of the
    differences are tested, and what diverged is worse than what did not. The levels are multiplied
    by `share`, where it is not the first point that a study confirms.
    """
    pairs = list(zip(chosen, baseline, strict=True))
    look, verdict = look_at(len(pairs)), NO_EVIDENCE
    whole = [without - given for given, without in pairs if math.isfinite(given + without)]
    given_up, low, high = _is_futile(whole, look), None, None
    if len(whole) > 1:
        # an early end for nothing can only lose power: the interval is that of a single look
        level = share * (0.05 if given_up else look.level)
        half = float(stdtrit(len(whole) - 1, 1 - level / 2)) * stdev(whole) / math.sqrt(len(whole))
        low, high = fmean(whole) - half, fmean(whole) + half
        verdict = HELPS if low > 0 else HURTS if high < 0 else NO_EVIDENCE
    if len(whole) < len(pairs):
        verdict, given_up = _of_signs(pairs, share * look.level), False
    final = given_up or verdict != NO_EVIDENCE or look is LOOKS[-1]
    lost = [sum(not math.isfinite(pair[i]) for pair in pairs) for i in (0, 1)]
    value, told = fmean(whole) if whole else None, verdict if tested else None
    return Gain(metric, value, low, high, len(pairs), told, final, (lost[0], lost[1]))


def look_at(n: int) -> Look:
    """Return the look that n pairs belong to: the first one that asks for as many."""
    return next((look for look in LOOKS if n <= look.seeds), LOOKS[-1])


def _is_futile(differences: Sequence[float], look: Look) -> bool:
    """Return whether differences are so small beside their noise that more are not worth it."""
    if look is LOOKS[-1] or len(differences) < look.seeds:
        return False
    return abs(fmean(differences)) <= look.futile * stdev(differences) / math.sqrt(look.seeds)


def _of_signs(pairs: Sequence[tuple[float, float]], level: float) -> str:
    """Judge by the signs of the differences; a pair of which both diverged says nothing."""
    signs = [_sign(*pair) for pair in pairs]
    better, worse = signs.count(1), signs.count(-1)
    if not better + worse or binomtest(better, better + worse).pvalue > level:
        return NO_EVIDENCE
    return HELPS if better > worse else HURTS


def _sign(given: float, without: float) -> int:
    given, without = (x if math.isfinite(x) else math.inf for x in (given, without))
    return (given < without) - (given > without)
