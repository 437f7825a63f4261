"""Rates to be timed, and what a contender says that it took."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def rates(n: int) -> list[float]:
    """Return n rates in even steps, from 0 to the last step below 0.8."""
    return [round(0.8 * i / n, 4) for i in range(n)]


def tell(trial_epochs: int, seconds: float, losses: Sequence[float]) -> None:
    """Print as JSON how long the trials took, and the mean of their validation losses."""
    speed, loss = trial_epochs / seconds, statistics.fmean(losses)
    told = {"seconds": seconds, "trial_epochs_per_second": speed, "val_loss": loss}
    print(json.dumps(told), flush=True)


@contextmanager
def timed(trial_epochs: int) -> Iterator[list[float]]:
    """Time what is done inside, which gives its validation losses, and tell."""
    losses: list[float] = []
    begin = time.perf_counter()
    yield losses
    tell(trial_epochs, time.perf_counter() - begin, losses)
