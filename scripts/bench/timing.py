"""Rates to be timed, works timed in turns, and what a contender says that it took."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from sweep.check import seconds_of


def rates(n: int) -> list[float]:
    """Return n rates in even steps, from 0 to the last step below 0.8."""
    return [round(0.8 * i / n, 4) for i in range(n)]


def medians(
    works: Sequence[Callable[[], object]], device: torch.device, rounds: int
) -> list[float]:
    """Time works in turns; return the median seconds of each, the first round dropped."""
    times = [[seconds_of(work, device) for work in works] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*times, strict=True)]


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
