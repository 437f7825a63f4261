"""The best loop by hand that trains one network after another: two processes of one thread.

    python -m scripts.bench.serial small
    python -m scripts.bench.serial gpu-part train.device=cuda [graph]

Digits in one tensor, no DataLoader, torch's fused AdamW, masks from 16-bit slices of 64-bit draws;
on a GPU torch's own masks, and with "graph" each step is one launch of a CUDA graph.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from scripts.bench.workload import (
    Workload,
    chosen,
    chosen_device,
    digits,
    network,
    timed,
    warm_up,
)
from sweep.workload.data import Data, Split


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
    model, device = network(work, rate), data.train.inputs.device
    graph = "graph" in sys.argv
    if device.type == "cpu":
        model[3], model[6] = CheapDropout(rate), CheapDropout(rate)  # type: ignore[operator]
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=graph)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    writer = SummaryWriter(folder)
    whole = graphed(step, *data.train[torch.arange(128, device=device)]) if graph else step
    for epoch in range(work.epochs):
        model.train()
        for rows in torch.split(torch.randperm(len(data.train), device=device), 128):
            x, y = data.train[rows]
            (whole if len(rows) == 128 else step)(x, y)
        model.eval()
        for name, split in (("train", data.train_part), ("val", data.val)):
            loss, error = evaluate(model, split)
            writer.add_scalar(f"loss/{name}", loss, epoch)
            writer.add_scalar(f"error/{name}", error, epoch)
    writer.close()
    return loss


def graphed(step: Callable[[Tensor, Tensor], None], x: Tensor, y: Tensor) -> Callable[..., None]:
    """Capture a step as PyTorch's notes on CUDA graphs do, after three to warm up."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(x, y)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(x, y)

    def replay(new_x: Tensor, new_y: Tensor) -> None:
        x.copy_(new_x)
        y.copy_(new_y)
        graph.replay()

    return replay


@torch.no_grad()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    loss, wrong = 0.0, 0
    for rows in torch.split(torch.arange(len(split), device=split.inputs.device), 1000):
        x, y = split[rows]
        out = model(x)
        loss += F.cross_entropy(out, y, reduction="sum").item()
        wrong += int((out.argmax(1) != y).sum().item())
    return loss / len(split), wrong / len(split)


def main() -> None:
    work, device = chosen(), chosen_device()
    if device.type == "cpu":
        torch.set_num_threads(1)  # no pool of threads before the fork
    warm_up()
    data = digits(work).to(device)
    with tempfile.TemporaryDirectory() as folder, timed(work.trials * work.epochs) as result:
        if device.type == "cpu":
            losses = in_processes(work, data, folder)
        else:
            each = enumerate(work.rates)
            losses = [train(work, data, rate, f"{folder}/{i}") for i, rate in each]
        result["val_loss"] = sum(losses) / work.trials


def in_processes(work: Workload, data: Data, folder: str, n: int = 2) -> list[float]:
    """Share the rates among n processes; return the losses."""
    children = []
    for rank in range(n):
        if (child := os.fork()) == 0:
            losses = [
                train(work, data, rate, f"{folder}/{rank}.{i}")
                for i, rate in enumerate(work.rates[rank::n])
            ]
            Path(folder, f"{rank}.json").write_text(json.dumps(losses))
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    files = [Path(folder, f"{rank}.json") for rank in range(n)]
    return [loss for file in files for loss in json.loads(file.read_text())]


if __name__ == "__main__":
    main()
