"""The best loop by hand that trains one network after another: two processes of one thread.

    python -m scripts.bench.serial small
    python -m scripts.bench.serial gpu-part train.device=cuda [graph | compile]

Digits in one tensor, no DataLoader, torch's fused AdamW, masks from 16-bit slices of 64-bit draws;
on a GPU torch's own masks. With "graph" each step is one launch of a CUDA graph; with "compile" the
model and its loss are compiled by torch.compile, on a GPU with CUDA graphs.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from scripts.bench.timing import timed
from scripts.bench.workload import Workload, batch, chosen, digits, evaluate, network, warm_up
from sweep.workload.data import Data
from sweep.workload.split import Split

T = TypeVar("T")
R = TypeVar("R")


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


def train(work: Workload, data: Data, folder: str, rate: float) -> float:
    model, device = network(work, rate), data.train.targets.device
    graph = "graph" in sys.argv
    if device.type == "cpu":
        model[3], model[6] = CheapDropout(rate), CheapDropout(rate)  # type: ignore[operator]
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=graph)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x), y)

    if "compile" in sys.argv:
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        loss_of = torch.compile(loss_of, mode=mode, dynamic=False)

    def step(x: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss_of(x, y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    writer = SummaryWriter(f"{folder}/{rate}")
    whole = graphed(step, *batch(data.train, torch.arange(128, device=device))) if graph else step
    for epoch in range(work.epochs):
        model.train()
        for rows in torch.split(torch.randperm(len(data.train), device=device), 128):
            (whole if len(rows) == 128 else step)(*batch(data.train, rows))
        splits = {"train": batches(data.train_part), "val": batches(data.val)}
        loss = evaluate(model, splits, writer, epoch)
    writer.close()
    return loss


def batches(split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.split(torch.arange(len(split), device=split.targets.device), 1000):
        yield batch(split, rows)


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


def main() -> None:
    work, device = chosen()
    if device.type == "cpu":
        torch.set_num_threads(1)  # no pool of threads before the fork
    warm_up()
    data = digits(work).to(device)
    with TemporaryDirectory() as folder, timed(work.trials * work.epochs) as losses:
        one = partial(train, work, data, folder)
        if device.type == "cpu":
            losses += in_processes(one, [work.rates[::2], work.rates[1::2]])
        else:
            losses += map(one, work.rates)


def in_processes(one: Callable[[T], R], shares: Sequence[Sequence[T]]) -> list[R]:
    """Do each share of some works in a process of its own; return their results."""
    fork = get_context("fork")
    queue = fork.SimpleQueue()
    children = [fork.Process(target=lambda s=s: queue.put([*map(one, s)])) for s in shares]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    return [result for _ in children for result in queue.get()]


if __name__ == "__main__":
    main()
