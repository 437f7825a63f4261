"""The best loop by hand that trains one network after another: two processes of one thread.

    python -m scripts.bench.serial small

Digits in one tensor, no DataLoader, torch's fused AdamW, masks from 16-bit slices of 64-bit draws.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from scripts.bench.workload import Workload, chosen, digits, network, timed, warm_up
from sweep.data import Data, Split


class CheapDropout(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.keep = 1 - rate
        self.threshold = min(round(self.keep * 65536) - 32768, 32767)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        return x * ((bits < self.threshold) * (1 / self.keep))


def train(work: Workload, data: Data, rate: float, folder: str) -> float:
    model = network(work, rate)
    model[3], model[6] = CheapDropout(rate), CheapDropout(rate)  # type: ignore[operator]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    writer = SummaryWriter(folder)
    for epoch in range(work.epochs):
        model.train()
        for rows in torch.randperm(len(data.train)).split(128):  # type: ignore[no-untyped-call]
            x, y = data.train[rows]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        model.eval()
        for name, split in (("train", data.train_part), ("val", data.val)):
            loss, error = evaluate(model, split)
            writer.add_scalar(f"loss/{name}", loss, epoch)
            writer.add_scalar(f"error/{name}", error, epoch)
    writer.close()
    return loss


@torch.no_grad()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    loss, wrong = 0.0, 0
    for rows in torch.arange(len(split)).split(1000):  # type: ignore[no-untyped-call]
        x, y = split[rows]
        out = model(x)
        loss += F.cross_entropy(out, y, reduction="sum").item()
        wrong += int((out.argmax(1) != y).sum().item())
    return loss / len(split), wrong / len(split)


def main() -> None:
    work = chosen()
    n_processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    torch.set_num_threads(1)  # no pool of threads before the fork
    warm_up()
    data = digits(work)
    with tempfile.TemporaryDirectory() as folder, timed(work.trials * work.epochs) as result:
        children = []
        for rank in range(n_processes):
            if (child := os.fork()) == 0:
                losses = [
                    train(work, data, rate, f"{folder}/{rank}.{i}")
                    for i, rate in enumerate(work.rates[rank::n_processes])
                ]
                Path(folder, f"{rank}.json").write_text(json.dumps(losses))
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        files = [Path(folder, f"{rank}.json") for rank in range(n_processes)]
        losses = [loss for file in files for loss in json.loads(file.read_text())]
        result["val_loss"] = sum(losses) / work.trials


if __name__ == "__main__":
    main()
