"""The work that all contenders do, and how they say what it took."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.utils.tensorboard
from torch import nn

from sweep.workload.data import Data, load


@dataclass(frozen=True)
class Workload:
    """Trials of 784-width-width-10 on MNIST, batches of 128, AdamW, each epoch evaluated."""

    width: int
    trials: int
    epochs: int
    n_train: int
    n_val: int

    @property
    def rates(self) -> list[float]:
        return [round(0.8 * i / self.trials, 4) for i in range(self.trials)]

    @property
    def flop(self) -> int:
        """Products of one trial-epoch: forward and both gradients (the first layer has one).

        Two evaluations, on the validation samples and as many training samples.
        """
        sizes = [784 * self.width, self.width**2, self.width * 10]
        a_step = 2 * (2 * sum(sizes) + sum(sizes[1:]))
        return self.n_train * a_step + 2 * self.n_val * 2 * sum(sizes)


WORKLOADS = {
    "small": Workload(width=256, trials=16, epochs=5, n_train=4000, n_val=1000),
    "large": Workload(width=1024, trials=8, epochs=1, n_train=60_000 - 10_000, n_val=10_000),
}
WORKLOADS["gpu"] = replace(WORKLOADS["large"], trials=64, epochs=10)
WORKLOADS["gpu-narrow"] = replace(WORKLOADS["gpu"], width=256)
for name in ("gpu", "gpu-narrow"):  # a part of it, for those who take long
    WORKLOADS[f"{name}-part"] = replace(WORKLOADS[name], trials=2, epochs=1)


def chosen() -> Workload:
    return WORKLOADS[sys.argv[1]]


def chosen_device() -> torch.device:
    return torch.device("cuda" if "train.device=cuda" in sys.argv else "cpu")


def digits(work: Workload) -> Data:
    root = os.environ.get("MNIST_ROOT", "data")
    config = {
        "_target_": "sweep.workload.digits.mnist",
        "root": root,
        "download": True,
        "split_seed": 0,
    }
    return load({**config, "n_train": work.n_train, "n_val": work.n_val})


def network(work: Workload, rate: float) -> nn.Module:
    hidden = work.width
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, hidden), nn.ReLU(), nn.Dropout(rate)),
        *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(rate)),
        nn.Linear(hidden, 10),
    )


def warm_up() -> None:
    """Pay for lazy imports before the time runs: torch's optimisers take seconds to import."""
    weight = torch.zeros(2, requires_grad=True)
    weight.sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.AdamW([weight], fused=True).step()


@contextmanager
def timed(trial_epochs: int) -> Iterator[dict[str, float]]:
    """Print as JSON what the work in between took, and what it adds to the dictionary."""
    result: dict[str, float] = {}
    begin = time.perf_counter()
    yield result
    seconds = time.perf_counter() - begin
    result |= {"seconds": seconds, "trial_epochs_per_second": trial_epochs / seconds}
    print(json.dumps(result), flush=True)
