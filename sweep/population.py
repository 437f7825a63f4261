"""Members trained in lockstep as one program: P trials x S seeds of one architecture.

Axes: P trials, S seeds, K = P * S members (trial by trial), B samples of a batch, C outputs.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from sweep.config import TrainConfig
from sweep.data import Split
from sweep.dropout import RateDropout, swap_dropout

EVALUATION_BATCH = 1000  # samples; all members see each at once
SCHEDULES: dict[str, Callable[[float], float]] = {  # part of training done -> factor on lr
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


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
        self.seeds, self.config, self.device, self.dtype = tuple(seeds), config, device, dtype
        members = [(setting, i) for setting in settings for i in range(len(seeds))]
        models = [self._member(setting, i) for setting, i in members]
        self.seed_of = torch.tensor([i for _, i in members], device=device)  # (K,)
        params, self.buffers = stack_module_state(models)
        self.params = {name: param.detach().requires_grad_() for name, param in params.items()}
        self.skeleton = copy.deepcopy(models[0]).to("meta")  # shapes only; holds no weights
        self.dropouts = {
            path: module
            for path, module in self.skeleton.named_modules()
            if isinstance(module, RateDropout)
        }
        for path in self.dropouts:  # one key a seed, seen by all members: no axis K
            self.buffers[f"{path}.keys"] = torch.zeros(len(seeds), dtype=torch.int32, device=device)
        self.slices = list(self._slices(settings))
        self.optimizer = self._optimizer(settings)
        factor = SCHEDULES[config.schedule]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda epoch: factor(epoch / config.epochs)
        )

    def _member(self, setting: Setting, i: int) -> nn.Module:
        """Build one network; a seed's weights at the start are the same at every rate."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[i])
            model = setting.build()
        for dropout in swap_dropout(model):
            dropout.seed.fill_(i)
        return model.to(self.device, self.dtype)

    def train_epoch(
        self, data: Split, epoch: int, on_step: Callable[[], None] = lambda: None
    ) -> Tensor:
        """Pass once over the data, in each seed's own order.

        Returns each member's mean training loss (K,), dropout on, its weights moving meanwhile.
        """
        total = torch.zeros(len(self.seed_of), dtype=self.dtype, device=self.device)
        for rows, keys in self._batches(epoch, len(data)):
            x, y = data[rows]
            total += self.step(x, y, keys) * (rows.shape[1] / len(data))
            on_step()
        self.scheduler.step()
        return total

    def step(self, x: Tensor, y: Tensor, keys: Tensor) -> Tensor:
        """Take one optimiser step; x (S, B, ...), y (S, B), keys (S,). Returns the losses (K,)."""
        self.skeleton.train()
        for path, dropout in self.dropouts.items():
            self.buffers[f"{path}.keys"] = keys
            dropout.calls = 0
        losses, _ = self._outcomes(x[self.seed_of], y[self.seed_of], of_member=True)
        # members share no weights, so the gradient of the sum is each one's own
        gradients = torch.autograd.grad(losses.sum(), list(self.params.values()), allow_unused=True)
        # contiguous: fused AdamW reads memory in order and would misread a transposed gradient
        by_name = {
            name: None if gradient is None else gradient.contiguous()
            for name, gradient in zip(self.params, gradients, strict=True)
        }
        for name, cut, view in self.slices:
            gradient = by_name[name]
            view.grad = None if gradient is None else gradient[cut]
        self.optimizer.step()
        return losses.detach()

    @torch.no_grad()
    def evaluate(self, data: Split) -> tuple[Tensor, Tensor]:
        """Return each member's mean loss and error rate, both (K,), dropout off."""
        self.skeleton.eval()
        total = torch.zeros(2, len(self.seed_of), dtype=torch.float64, device=self.device)
        for rows in torch.split(torch.arange(len(data), device=self.device), EVALUATION_BATCH):
            outcomes = torch.stack(self._outcomes(*data[rows], of_member=False))
            total += outcomes.double() * (len(rows) / len(data))
        return total[0], total[1]

    def _outcomes(self, x: Tensor, y: Tensor, of_member: bool) -> tuple[Tensor, Tensor]:
        """Return losses and error rates (K,) on x and y, which have an axis K or are all's."""

        def member(
            params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> tuple[Tensor, Tensor]:
            outputs = functional_call(self.skeleton, (params, buffers), (x,)).to(self.dtype)
            error = (outputs.argmax(-1) != y).to(self.dtype).mean()
            return LOSSES[self.config.loss](outputs, y), error

        shared = {f"{path}.keys" for path in self.dropouts}
        buffer_axes = {name: None if name in shared else 0 for name in self.buffers}
        axis = 0 if of_member else None
        run = torch.vmap(member, in_dims=(0, buffer_axes, axis, axis))
        bf16 = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses, errors = run(self.params, self.buffers, x, y)
        return losses, errors

    def table(self, values: Tensor) -> list[list[float]]:
        """Return a value of each member (K,) as P rows of S numbers."""
        return values.view(-1, len(self.seeds)).tolist()

    def n_steps(self, n: int) -> int:
        """Return the steps of an epoch of n samples."""
        return math.ceil(n / self.config.batch_size)

    def _batches(self, epoch: int, n: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows (S, B) and noise keys (S,) of each step."""
        size = self.config.batch_size
        orders, keys = zip(*(order_and_keys(s, epoch, n, size) for s in self.seeds), strict=True)
        steps = torch.split(torch.stack(orders).to(self.device), size, dim=1)
        yield from zip(steps, torch.stack(keys, dim=1).to(self.device), strict=True)

    def _slices(self, settings: Sequence[Setting]) -> Iterator[tuple[str, slice, Tensor]]:
        """Yield what the optimiser moves: each stacked tensor, or a view of each trial's rows."""
        n_seeds = len(self.seeds)
        cuts = [slice(p * n_seeds, (p + 1) * n_seeds) for p in range(len(settings))]
        if len({(setting.lr, setting.weight_decay) for setting in settings}) == 1:
            cuts = [slice(None)]
        for cut in cuts:
            for name, param in self.params.items():
                yield name, cut, param.detach()[cut]

    def _optimizer(self, settings: Sequence[Setting]) -> torch.optim.AdamW:
        groups = []
        views = [view for _, _, view in self.slices]
        for p in range(0, len(views), len(self.params)):
            setting = settings[p // len(self.params)]
            part = views[p : p + len(self.params)]
            groups.append({"params": part, "lr": setting.lr, "weight_decay": setting.weight_decay})
        return torch.optim.AdamW(groups, fused=True)


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs, y)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance to the one-hot target."""
    hot = y.unsqueeze(-1) == torch.arange(outputs.shape[-1], device=y.device)
    return F.mse_loss(outputs, hot.to(outputs.dtype))


LOSSES = {"cross_entropy": cross_entropy, "mse": squared_error}


def order_and_keys(seed: int, epoch: int, n: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the order of the samples (n,) and a noise key for each step (n_steps,), int32.

    They depend on nothing but the arguments: not on the rates or seeds trained beside.
    """
    words = np.random.SeedSequence((seed, epoch)).generate_state(2 + math.ceil(n / batch_size))
    shuffle = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
    return torch.randperm(n, generator=shuffle), torch.from_numpy(words[2:].view(np.int32))
