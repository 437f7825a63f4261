"""torch's optimisers, for one model or for stacked tensors in which each trial has its rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sweep.command.config import TrainConfig


@dataclass(frozen=True)
class OptimizerNumbers:
    """The optimiser's numbers that can differ between trials."""

    lr: float
    weight_decay: float


def parameter_group(params: Iterable[Tensor], numbers: OptimizerNumbers) -> dict[str, Any]:
    """Return a parameter group for a torch optimiser; a schedule scales `initial_lr`."""
    return {"params": list(params), "initial_lr": numbers.lr, **vars(numbers)}


def torch_optimizer(
    groups: list[dict[str, Any]], config: TrainConfig, fused: bool
) -> torch.optim.Optimizer:
    """Return torch's AdamW or SGD, fused if asked, else in the way that torch chooses."""
    if config.optimizer == "sgd":
        momentum, nesterov = config.momentum, config.nesterov
        return torch.optim.SGD(groups, momentum=momentum, nesterov=nesterov, fused=fused or None)
    return torch.optim.AdamW(groups, fused=fused or None)


class StackedOptimizer:
    """Updates tensors (K, ...), K = P * S (trial by trial); each trial has its own numbers."""

    def __init__(
        self,
        params: Mapping[str, Tensor],
        trials: Sequence[OptimizerNumbers],
        config: TrainConfig,
    ) -> None:
        self.trials, self.config = trials, config
        # a fused optimiser ignores strides, so transposed tensors are given in memory order
        self.transposed = {name for name, param in params.items() if not param.is_contiguous()}
        self.params = {name: self._in_order(name, param) for name, param in params.items()}
        self.gradients: dict[str, Tensor] = {}
        self.gathered: dict[str, Tensor] = {}  # of several passes; reused: new memory costs time
        self.views: list[tuple[str, slice, Tensor]] = []
        groups = []
        for numbers, rows in _groups(trials, n_members=len(next(iter(params.values())))):
            views = [(name, rows, param.detach()[rows]) for name, param in self.params.items()]
            self.views += views
            groups.append(parameter_group((view for _, _, view in views), numbers))
        self.inner = torch_optimizer(groups, config, fused=True)

    def _in_order(self, name: str, tensor: Tensor) -> Tensor:
        """Return a parameter or its gradient in memory order, contiguous."""
        return (tensor.mT if name in self.transposed else tensor).contiguous()

    def selected(
        self, params: Mapping[str, Tensor], trials: Sequence[int], rows: Tensor
    ) -> "StackedOptimizer":
        """Return an optimiser that continues this one with only these trials and their rows."""
        chosen = StackedOptimizer(params, [self.trials[trial] for trial in trials], self.config)
        states: dict[str, list[dict[str, Tensor]]] = {}
        for name, _, view in self.views:
            if view in self.inner.state:  # unless the loss never reached it
                states.setdefault(name, []).append(self.inner.state[view])
        for name, own, view in chosen.views:
            for key, first in states.get(name, [{}])[0].items():
                if not first.dim():  # a count of steps, the same for all
                    chosen.inner.state[view][key] = first.clone()
                    continue
                whole = torch.cat([state[key] for state in states[name]])
                chosen.inner.state[view][key] = whole[rows][own].clone()
        return chosen

    def accumulate(self, members: slice, gradients: Mapping[str, Tensor | None]) -> None:
        """Store the gradients of some members; None for weights that the loss does not reach."""
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            ordered, param = self._in_order(name, gradient), self.params[name]
            if len(ordered) < len(param):
                whole = self.gathered.setdefault(name, torch.empty_like(param))
                whole[members] = ordered
                ordered = whole
            self.gradients[name] = ordered

    def gradient(self, name: str, member: int) -> Tensor | None:
        """Return the stored gradient of one member."""
        if name not in self.gradients:
            return None
        gradient = self.gradients[name][member]
        return gradient.mT if name in self.transposed else gradient

    def step(self) -> None:
        """Take a step with the stored gradients, clipped if clip_norm is set."""
        if self.config.clip_norm is not None and self.gradients:
            self._clip(self.config.clip_norm)
        for name, rows, view in self.views:
            gradient = self.gradients.get(name)
            view.grad = None if gradient is None else gradient[rows]
        self.inner.step()
        self.gradients.clear()
        self.inner.zero_grad()

    def _clip(self, clip_norm: float) -> None:
        """Clip each member's gradients to a norm, as torch's clip_grad_norm_ does for one model.

        Not in place, as two weights may share one gradient tensor.
        """
        rows = [gradient.unsqueeze(-1).flatten(1) for gradient in self.gradients.values()]
        norms = [torch.linalg.vector_norm(row, dim=1) for row in rows]
        whole = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (K,)
        factor = (clip_norm / (whole + 1e-6)).clamp(max=1.0)
        for name, gradient in self.gradients.items():
            each = factor.view(-1, *[1] * (gradient.dim() - 1))
            self.gradients[name] = (gradient * each).to(gradient.dtype)


def _groups(
    trials: Sequence[OptimizerNumbers], n_members: int
) -> Iterator[tuple[OptimizerNumbers, slice]]:
    """Yield each trial's numbers and rows, or all rows at once if all numbers are equal."""
    if len(set(trials)) == 1:
        yield trials[0], slice(None)
        return
    n_seeds = n_members // len(trials)
    for p, numbers in enumerate(trials):
        yield numbers, slice(p * n_seeds, (p + 1) * n_seeds)
