"""The work that all contenders do."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from scripts.bench import timing
from sweep.check import read_config
from sweep.workload.data import Data, load_data
from sweep.workload.split import Split

Batches = Iterable[tuple[Tensor, Tensor]]


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
        return timing.rates(self.trials)

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
    "large": Workload(width=1024, trials=8, epochs=1, n_train=50_000, n_val=10_000),
}
WORKLOADS["mnist"] = replace(WORKLOADS["small"], trials=45, epochs=10, n_train=50_000, n_val=10_000)
WORKLOADS["gpu"] = replace(WORKLOADS["large"], trials=64, epochs=10)
WORKLOADS["gpu-narrow"] = replace(WORKLOADS["gpu"], width=256)
# a part of each, for those who take long
WORKLOADS |= {f"{k}-part": replace(work, trials=2, epochs=1) for k, work in WORKLOADS.items()}


def chosen() -> tuple[Workload, torch.device]:
    """Return what the command line names."""
    device = "cuda" if "train.device=cuda" in sys.argv else "cpu"
    return WORKLOADS[sys.argv[1]], torch.device(device)


def digits(work: Workload) -> Data:
    overrides = [f"data.n_train={work.n_train}", f"data.n_val={work.n_val}"]
    return load_data(read_config(overrides).data)


def batch(split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    x, y = split[rows]
    assert isinstance(x, Tensor)
    return x, y


def network(work: Workload, rate: float) -> nn.Module:
    hidden = work.width
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, hidden), nn.ReLU(), nn.Dropout(rate)),
        *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(rate)),
        nn.Linear(hidden, 10),
    )


@torch.no_grad()
def evaluate(
    model: nn.Module, splits: Mapping[str, Batches], writer: SummaryWriter, epoch: int
) -> float:
    """Write the loss and error of each split into TensorBoard; return the last one's loss."""
    model.eval()
    for name, batches in splits.items():
        loss, wrong, n = 0.0, 0, 0
        for x, y in batches:
            out = model(x)
            loss += F.cross_entropy(out, y, reduction="sum").item()
            wrong += int((out.argmax(1) != y).sum().item())
            n += len(y)
        writer.add_scalar(f"loss/{name}", loss / n, epoch)
        writer.add_scalar(f"error/{name}", wrong / n, epoch)
    return loss / n


def warm_up() -> None:
    """Pay for lazy imports before the time runs: torch's optimisers take seconds to import."""
    weight = torch.zeros(2, requires_grad=True)
    weight.sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.AdamW([weight], fused=True).step()
