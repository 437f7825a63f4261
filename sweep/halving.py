"""Successive halving in lockstep: twice on the way, the worse half of a population leaves.

One decision falls over all trials at once (Jamieson and Talwalkar 2016). High rates learn slowly,
so this favours low ones; rate 0, with which all are compared, always stays.
"""

import math
from collections.abc import Mapping, Sequence

from sweep.config import without_dropout

RUNGS = (1 / 4, 1 / 2)  # parts of the epochs after which half of the trials leave


def rungs(epochs: int) -> set[int]:
    """Return the epochs, counted from 1, after which half of the trials leave."""
    return {math.ceil(part * epochs) for part in RUNGS} - {epochs}


def stay(trials: Sequence[Mapping[str, float]], values: Sequence[float]) -> list[int]:
    """Return the places of the trials that go on.

    trials are what is searched of each, values their means so far, nan where one diverged.
    """
    apart = [i for i, trial in enumerate(trials) if without_dropout(trial)]
    ranked = sorted(
        set(range(len(trials))) - set(apart), key=lambda i: (math.isnan(values[i]), values[i])
    )
    return sorted(apart + ranked[: math.ceil(len(ranked) / 2)])
