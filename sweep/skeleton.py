"""A model without weights of its own, run with those of many members at once.

Axes: T trials, S seeds, K = T * S members (trial by trial), B samples of a batch.
"""

import copy
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sweep.config import TrainConfig
from sweep.dropout import RateDropout
from sweep.lowering import lower
from sweep.mistake import first_line
from sweep.program import Function, Program

LARGEST = 2**25  # bytes: members whose tensors are larger together gain nothing but memory
Tensors = Mapping[str, Tensor]

log = logging.getLogger(__name__)


class Skeleton:
    """Computes the losses and errors of members from their weights, stacked (K, ...)."""

    def __init__(self, model: nn.Module, n_seeds: int, config: TrainConfig) -> None:
        self.module = copy.deepcopy(model).to("meta")  # shapes only
        self.n_seeds, self.config = n_seeds, config
        self.fused: bool | None = None  # whether vmap takes the model; `probe` finds out
        self.gradients: Function = self._gradients
        self.outcomes: Function = self._outcomes
        self.dropouts = {
            path: module
            for path, module in self.module.named_modules()
            if isinstance(module, RateDropout)
        }

    def train(self, keys: Tensor, step: int = 0, n_samples: int = 0) -> None:
        """Begin a training step on n_samples of an epoch with noise keys (n_steps, S)."""
        self.module.train()
        for dropout in self.dropouts.values():
            dropout.begin(keys, step, n_samples)

    @property
    def noise(self) -> dict[str, list[Tensor]]:
        """The noise of this step: all of it if a step on as many samples came before."""
        return {path: dropout.noise for path, dropout in self.dropouts.items()}

    def _gradients(
        self,
        params: Tensors,
        buffers: Tensors,
        noise: Mapping[str, list[Tensor]],
        x: Tensor,
        y: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Return the losses (K,) of a training step and the gradients of each weight, stacked.

        None stands for what the loss does not reach.
        """
        for path, dropout in self.dropouts.items():
            dropout.noise = noise[path]
        leaves = {name: param.detach().requires_grad_() for name, param in params.items()}
        (losses,) = self._outcomes(leaves, buffers, x, y)
        # members share no weights, so the gradient of the sum is each one's own
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        return losses.detach(), dict(zip(leaves, gradients, strict=True))

    def eval(self) -> None:
        self.module.eval()

    def _outcomes(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        """Return losses (1, K), in evaluation with error rates (2, K).

        x, y are (S, B, ...), or (B, ...) for all alike.
        """
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return (self._together if self.fused else self._one_by_one)(params, buffers, x, y)

    @torch.no_grad()
    def probe(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> int:
        """Find out with one trial (K = S) whether vmap takes the model; its buffers may change.

        Returns how many trials are best run at once.
        """
        on_cpu = x.device.type == "cpu"
        if on_cpu and any(isinstance(m, nn.modules.conv._ConvNd) for m in self.module.modules()):
            self.fused = False  # vmap would make them grouped convolutions, which are slow there
            return 1
        self.fused = True
        try:
            with _Largest() as largest:
                self._outcomes(params, buffers, x, y)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.fused = False
            why = first_line(error)
            log.warning("trained member by member, since vmap cannot take the model: %s", why)
            return 1
        lower(self.module)
        self.gradients, self.outcomes = Program(self._gradients), Program(self._outcomes)
        return max(1, LARGEST // largest.bytes) if on_cpu else sys.maxsize

    def _together(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        for dropout in self.dropouts.values():
            dropout.row = None
        axis = None
        if y.dim() == 2:
            axis, n_trials = 0, len(next(iter(params.values()))) // self.n_seeds
            x, y = (t.repeat(n_trials, *[1] * (t.dim() - 1)) for t in (x, y))
        outcomes: Tensor = torch.vmap(self._member, (0, 0, axis, axis), 1)(params, buffers, x, y)
        return outcomes

    def _one_by_one(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        """Do the same without vmap; a member's buffers are views, so it updates its own."""
        apart = {name: param.unbind() for name, param in params.items()}
        outcomes = []
        for k in range(len(next(iter(params.values())))):
            seed = k % self.n_seeds
            for dropout in self.dropouts.values():
                dropout.row = seed
            own = {name: param[k] for name, param in apart.items()}
            batch = (x[seed], y[seed]) if y.dim() == 2 else (x, y)
            outcomes.append(self._member(own, {n: b[k] for n, b in buffers.items()}, *batch))
        return torch.stack(outcomes, 1)

    def _member(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensor:
        """Return one member's loss (1,), in evaluation with its error rate (2,)."""
        for dropout in self.dropouts.values():
            dropout.calls = 0
        outputs = functional_call(self.module, (dict(params), dict(buffers)), (x,)).to(x.dtype)
        loss = LOSSES[self.config.loss](outputs, y)
        if self.module.training:
            return loss.unsqueeze(0)
        return torch.stack([loss, (outputs.argmax(-1) != y).to(x.dtype).mean()])


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self.bytes = max(self.bytes, tensor.nbytes)
        return made


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs, y)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance to the one-hot target."""
    hot = y.unsqueeze(-1) == torch.arange(outputs.shape[-1], device=y.device)
    return F.mse_loss(outputs, hot.to(outputs.dtype))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": squared_error,
}
