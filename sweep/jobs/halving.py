"""Successive halving in lockstep: twice on the way, the worse half of a population leaves.

One decision falls over all trials at once (Jamieson and Talwalkar 2016). High rates learn slowly,
so this favours low ones; rate 0, with which all are compared, always stays.
"""

import math
from collections.abc import Mapping, Sequence

from sweep.command.rate import all_rates_zero

RUNGS = (1 / 4, 1 / 2)  # parts of the epochs after which half of the trials leave


def rungs(epochs: int) -> set[int]:
    """Return the epochs, counted from 1, after which half of the trials leave."""
    return {math.ceil(part * epochs) for part in RUNGS} - {epochs}


def survivors(trials: Sequence[Mapping[str, float]], values: Sequence[float]) -> list[int]:
    """Return the places of the trials that go on.

    trials are the searched numbers of each, values their means so far, nan if one diverged.
    """
    always_kept = [i for i, trial in enumerate(trials) if all_rates_zero(trial)]
    compared = set(range(len(trials))) - set(always_kept)
    ranked = sorted(compared, key=lambda i: (math.isnan(values[i]), values[i]))
    return sorted(always_kept + ranked[: math.ceil(len(ranked) / 2)])
