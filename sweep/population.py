"""Members trained in lockstep as one program: P trials x S seeds of one architecture.

Axes: P trials, S seeds, K = P * S members (trial by trial), B samples of a batch, C outputs.
"""

import copy
import logging
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
from sweep.optimizer import Numbers, StackedAdamW

EVALUATED = {"cpu": 4096, "cuda": 262_144}  # members x samples at once: more leaves the cache

log = logging.getLogger(__name__)


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
        self.key_names = {f"{path}.keys" for path in self.dropouts}
        self._set_keys(torch.zeros(len(seeds), dtype=torch.int32, device=device))
        numbers = [Numbers(setting.lr, setting.weight_decay) for setting in settings]
        self.optimizer = StackedAdamW(self.params, numbers, config.schedule, config.epochs)
        self.fused: bool | None = None  # whether vmap takes the model; the first step finds out

    def _member(self, setting: Setting, i: int) -> nn.Module:
        """Build one network; a seed's weights at the start are the same at every rate."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[i])
            model = setting.build()
        for dropout in swap_dropout(model):
            dropout.seed.fill_(i)
        return model.to(self.device, self.dtype)

    def _set_keys(self, keys: Tensor) -> None:
        """Give all dropouts the step's noise keys (S,), which all members see: no axis K."""
        self.buffers |= dict.fromkeys(self.key_names, keys)

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
        self.optimizer.end_epoch()
        return total

    def step(self, x: Tensor, y: Tensor, keys: Tensor) -> Tensor:
        """Take one optimiser step; x (S, B, ...), y (S, B), keys (S,). Returns the losses (K,)."""
        self.skeleton.train()
        self._set_keys(keys)
        losses, _ = self._outcomes(x[self.seed_of], y[self.seed_of], of_member=True)
        # members share no weights, so the gradient of the sum is each one's own
        gradients = torch.autograd.grad(losses.sum(), list(self.params.values()), allow_unused=True)
        self.optimizer.step(dict(zip(self.params, gradients, strict=True)))
        return losses.detach()

    @torch.no_grad()
    def evaluate(self, data: Split) -> tuple[Tensor, Tensor]:
        """Return each member's mean loss and error rate, both (K,), dropout off."""
        self.skeleton.eval()
        total = torch.zeros(2, len(self.seed_of), dtype=torch.float64, device=self.device)
        size = max(1, EVALUATED[self.device.type] // len(self.seed_of))
        for rows in torch.split(torch.arange(len(data), device=self.device), size):
            outcomes = torch.stack(self._outcomes(*data[rows], of_member=False))
            total += outcomes.double() * (len(rows) / len(data))
        return total[0], total[1]

    def _outcomes(self, x: Tensor, y: Tensor, of_member: bool) -> tuple[Tensor, Tensor]:
        """Return losses and error rates (K,) on x and y, which have an axis K or are all's."""
        bf16 = self.config.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if self.fused is None:
                self.fused = self._vmap_takes(x, y, of_member)
            outcomes = self._together if self.fused else self._one_by_one
            return outcomes(x, y, of_member)

    @torch.no_grad()
    def _vmap_takes(self, x: Tensor, y: Tensor, of_member: bool) -> bool:
        """Try vmap once; what it changed in the buffers is undone."""
        before = {name: buffer.clone() for name, buffer in self.buffers.items()}
        try:
            self._together(x, y, of_member)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            log.warning("trained member by member, since vmap cannot take the model: %s", reason)
            return False
        finally:
            self.buffers = before
        return True

    def _together(self, x: Tensor, y: Tensor, of_member: bool) -> tuple[Tensor, Tensor]:
        buffer_axes = {name: None if name in self.key_names else 0 for name in self.buffers}
        axis = 0 if of_member else None
        run = torch.vmap(self._outcome, in_dims=(0, buffer_axes, axis, axis))
        losses, errors = run(self.params, self.buffers, x, y)
        return losses, errors

    def _one_by_one(self, x: Tensor, y: Tensor, of_member: bool) -> tuple[Tensor, Tensor]:
        """Do the same without vmap; a member's buffers are views, so it updates its own."""
        params = {name: param.unbind() for name, param in self.params.items()}
        outcomes = []
        for k, i in enumerate(self.seed_of.tolist()):
            buffers = {
                name: buffer[i : i + 1] if name in self.key_names else buffer[k]
                for name, buffer in self.buffers.items()
            }
            for path in self.dropouts:  # of the one key left
                buffers[f"{path}.seed"] = torch.zeros_like(buffers[f"{path}.seed"])
            mine = {name: param[k] for name, param in params.items()}
            batch = (x[k], y[k]) if of_member else (x, y)
            outcomes.append(torch.stack(self._outcome(mine, buffers, *batch)))
        losses, errors = torch.stack(outcomes, dim=1)
        return losses, errors

    def _outcome(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return one member's loss and error rate."""
        for dropout in self.dropouts.values():
            dropout.calls = 0
        outputs = functional_call(self.skeleton, (params, buffers), (x,)).to(self.dtype)
        error = (outputs.argmax(-1) != y).to(self.dtype).mean()
        return LOSSES[self.config.loss](outputs, y), error

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
