"""The learning rate during training: a warm-up, then constant or falling as a half cosine."""

import math
from collections.abc import Callable

import torch

from sweep.command.config import TrainConfig

SCHEDULES: dict[str, Callable[[float], float]] = {  # part of training that is done -> factor on lr
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


class Schedule:
    """The factor on lr, the same for all members, each of which has its own lr.

    Without a warm-up it changes once per epoch, by the part of the epochs that is done. With one it
    changes in each step: it rises linearly over the first `warmup` epochs, so that the first of W
    steps has 1/W of lr and the last has lr. The schedule then runs over the remaining epochs.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config, self.done, self.n_steps = config, 0, 1  # epochs done, steps of an epoch

    def begin_epoch(self, n_steps: int) -> None:
        self.n_steps = n_steps

    def end_epoch(self) -> None:
        self.done += 1

    def factor(self, step: int) -> float:
        """Return the factor in a step of the current epoch."""
        schedule, epochs = SCHEDULES[self.config.schedule], self.config.epochs
        warmup, n = self.config.warmup, self.n_steps
        if not warmup:
            return schedule(self.done / epochs)
        before = self.done * n + step  # steps
        after_warmup = max(0.0, before / n - warmup) / (epochs - warmup)
        return min(1.0, (before + 1) / (warmup * n)) * schedule(after_warmup)

    def set_lr(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Set the learning rate of each parameter group of an optimiser for a step."""
        factor = self.factor(step)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
