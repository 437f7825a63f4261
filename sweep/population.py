"""Members trained in lockstep as one program: P trials x S seeds of one architecture.

Axes: P trials, S seeds, K = P * S members (trial by trial), B samples of a batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from sweep import memory
from sweep.config import TrainConfig
from sweep.data import Split
from sweep.dropout import swap_dropout
from sweep.lowering import lay_out
from sweep.optimizer import Numbers, StackedAdamW
from sweep.skeleton import Skeleton

EVALUATED = {"cpu": 4096, "cuda": 262_144}  # members x samples at once: more leaves the cache


@dataclass(frozen=True)
class Setting:
    """What one trial trains: a plain model, built anew for each seed, and its AdamW's numbers."""

    build: Callable[[], nn.Module]
    lr: float
    weight_decay: float


class Population:
    """P x S networks as one: every tensor of the model gains a leading axis K.

    The settings must build one architecture; nothing but dropout rates may differ inside it.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        seeds: Sequence[int],
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        memory.keep_freed()
        self.seeds, self.config, self.device, self.dtype = tuple(seeds), config, device, dtype
        models = [self._member(setting, seed) for setting in settings for seed in seeds]
        params, self.buffers = stack_module_state(models)
        detached = {name: param.detach() for name, param in params.items()}
        self.params = lay_out(models[0], detached)
        self.skeleton = Skeleton(models[0], len(seeds), config)
        for path, dropout in self.skeleton.dropouts.items():
            dropout.live = bool(self.buffers[f"{path}.rate"].any())
        numbers = [Numbers(setting.lr, setting.weight_decay) for setting in settings]
        self.optimizer = StackedAdamW(self.params, numbers, config.schedule, config.epochs)
        self.at_once = 0  # members in one forward and backward pass; the first step finds out

    @property
    def n_members(self) -> int:
        return len(next(iter(self.params.values())))

    def _member(self, setting: Setting, seed: int) -> nn.Module:
        """Build one network; a seed's weights at the start are the same at every rate."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = setting.build()
        swap_dropout(model)
        return model.to(self.device, self.dtype)

    def train_epoch(
        self, data: Split, epoch: int, on_step: Callable[[], None] = lambda: None
    ) -> Tensor:
        """Pass once over the data, in each seed's own order.

        Returns each member's mean training loss (K,), dropout on, its weights moving meanwhile.
        """
        total = torch.zeros(self.n_members, dtype=self.dtype, device=self.device)
        batches, keys = self._batches(epoch, len(data))
        for step, rows in enumerate(batches):
            x, y = data[rows]
            total += self.step(x, y, keys, step) * (rows.shape[1] / len(data))
            on_step()
        self.optimizer.end_epoch()
        return total

    def step(self, x: Tensor, y: Tensor, keys: Tensor, step: int = 0) -> Tensor:
        """Take an optimiser step of an epoch whose steps have noise keys (n_steps, S).

        x (S, B, ...), y (S, B). Returns the losses (K,).
        """
        self.skeleton.train(keys, step, x.shape[1])
        if not self.at_once:
            self.at_once = self._probe(x, y)
        losses, noise = [], self.skeleton.noise
        for first in range(0, self.n_members, self.at_once):
            members = slice(first, first + self.at_once)
            params = {name: param[members] for name, param in self.params.items()}
            buffers = {name: buffer[members] for name, buffer in self.buffers.items()}
            loss, gradients = self.skeleton.gradients(params, buffers, noise, x, y)
            self.optimizer.take(members, gradients)
            losses.append(loss)
        self.optimizer.step()
        return torch.cat(losses)

    def _probe(self, x: Tensor, y: Tensor) -> int:
        """Return how many members to run at once: whole trials, in parts of about equal size."""
        n_seeds = len(self.seeds)
        trial = {name: param[:n_seeds] for name, param in self.params.items()}
        buffers = {name: buffer[:n_seeds].clone() for name, buffer in self.buffers.items()}
        n_trials = self.n_members // n_seeds
        n_parts = math.ceil(n_trials / self.skeleton.probe(trial, buffers, x, y))
        return n_seeds * math.ceil(n_trials / n_parts)

    def keep(self, trials: Sequence[int]) -> None:
        """Go on with these trials alone."""
        members = torch.arange(self.n_members, device=self.device).view(-1, len(self.seeds))
        rows = members[list(trials)].flatten()
        kept = {name: param[rows] for name, param in self.params.items()}
        self.params = lay_out(self.skeleton.module, kept)
        self.buffers = {name: buffer[rows] for name, buffer in self.buffers.items()}
        self.optimizer = self.optimizer.kept(self.params, trials, rows)

    @torch.no_grad()
    def evaluate(self, data: Split) -> tuple[Tensor, Tensor]:
        """Return each member's mean loss and error rate, both (K,), dropout off."""
        self.skeleton.eval()
        total = torch.zeros(2, self.n_members, dtype=torch.float64, device=self.device)
        size = max(1, EVALUATED[self.device.type] // self.n_members)
        for rows in torch.split(torch.arange(len(data), device=self.device), size):
            outcomes = self.skeleton.outcomes(self.params, self.buffers, *data[rows])
            total += outcomes.double() * (len(rows) / len(data))
        return total[0], total[1]

    def table(self, values: Tensor) -> list[list[float]]:
        """Return a value of each member (K,) as P rows of S numbers."""
        return values.view(-1, len(self.seeds)).tolist()

    def n_steps(self, n: int) -> int:
        """Return the steps of an epoch of n samples."""
        return math.ceil(n / self.config.batch_size)

    def _batches(self, epoch: int, n: int) -> tuple[Sequence[Tensor], Tensor]:
        """Return the rows (S, B) of each step, and the steps' noise keys (n_steps, S)."""
        size = self.config.batch_size
        orders, keys = zip(*(order_and_keys(s, epoch, n, size) for s in self.seeds), strict=True)
        steps = torch.split(torch.stack(orders).to(self.device), size, dim=1)
        return steps, torch.stack(keys, dim=1).to(self.device)


def order_and_keys(seed: int, epoch: int, n: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the order of the samples (n,) and a noise key for each step (n_steps,), int32.

    They depend on nothing but the arguments: not on the rates or seeds trained beside.
    """
    words = np.random.SeedSequence((seed, epoch)).generate_state(2 + math.ceil(n / batch_size))
    shuffle = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
    return torch.randperm(n, generator=shuffle), torch.from_numpy(words[2:].view(np.int32))
