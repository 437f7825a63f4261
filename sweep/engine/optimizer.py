"""AdamW for a population: torch's own, over stacked tensors of which each trial owns some rows."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SCHEDULES: dict[str, Callable[[float], float]] = {  # part of training done -> factor on lr
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}


@dataclass(frozen=True)
class AdamWSettings:
    """The numbers of one trial's AdamW."""

    lr: float
    weight_decay: float


class StackedAdamW:
    """Moves tensors (K, ...), K = P * S trial by trial; a trial's rows have its own numbers."""

    def __init__(
        self,
        params: Mapping[str, Tensor],
        trials: Sequence[AdamWSettings],
        schedule: str,
        epochs: int,
        done: int = 0,  # of the epochs
    ) -> None:
        self.trials, self.schedule, self.epochs = trials, schedule, epochs
        # fused AdamW reads memory in order and takes a transposed tensor for another
        self.transposed = {name for name, param in params.items() if not param.is_contiguous()}
        self.params = {name: self._in_order(name, param) for name, param in params.items()}
        self.gradients: dict[str, Tensor] = {}
        self.gathered: dict[str, Tensor] = {}  # of members in parts; kept: new memory costs time
        self.views: list[tuple[str, slice, Tensor]] = []
        groups = []
        for numbers, rows in _groups(trials, n_members=len(next(iter(params.values())))):
            views = [(name, rows, param.detach()[rows]) for name, param in self.params.items()]
            self.views += views
            group = {"params": [view for _, _, view in views], "initial_lr": numbers.lr}
            groups.append({**group, **vars(numbers)})
        self.adamw = torch.optim.AdamW(groups, fused=True)
        factor = SCHEDULES[schedule]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda epoch: factor(epoch / epochs), done - 1
        )

    def _in_order(self, name: str, tensor: Tensor) -> Tensor:
        """Return a parameter or its gradient as it lies in memory, contiguous."""
        return (tensor.mT if name in self.transposed else tensor).contiguous()

    def selected(
        self, params: Mapping[str, Tensor], trials: Sequence[int], rows: Tensor
    ) -> "StackedAdamW":
        """Return one that goes on where this one is, with these trials and their rows alone."""
        numbers, done = [self.trials[trial] for trial in trials], self.scheduler.last_epoch
        chosen = StackedAdamW(params, numbers, self.schedule, self.epochs, done)
        states: dict[str, list[dict[str, Tensor]]] = {}
        for name, _, view in self.views:
            if view in self.adamw.state:  # not where the loss never reached it
                states.setdefault(name, []).append(self.adamw.state[view])
        for name, own, view in chosen.views:
            if name in states:
                state = chosen.adamw.state[view]
                state["step"] = states[name][0]["step"].clone()
                for moment in ("exp_avg", "exp_avg_sq"):
                    state[moment] = torch.cat([s[moment] for s in states[name]])[rows][own].clone()
        return chosen

    def accumulate(self, members: slice, gradients: Mapping[str, Tensor | None]) -> None:
        """Note the gradients of some members; None for what the loss does not reach."""
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
        """Return the noted gradient of one member."""
        if name not in self.gradients:
            return None
        gradient = self.gradients[name][member]
        return gradient.mT if name in self.transposed else gradient

    def step(self) -> None:
        """Take a step with the noted gradients."""
        for name, rows, view in self.views:
            gradient = self.gradients.get(name)
            view.grad = None if gradient is None else gradient[rows]
        self.adamw.step()
        self.gradients.clear()
        self.adamw.zero_grad()

    def end_epoch(self) -> None:
        self.scheduler.step()


def _groups(
    trials: Sequence[AdamWSettings], n_members: int
) -> Iterator[tuple[AdamWSettings, slice]]:
    """Yield numbers and the rows they hold for: all rows at once where all trials agree."""
    if len(set(trials)) == 1:
        yield trials[0], slice(None)
        return
    n_seeds = n_members // len(trials)
    for p, numbers in enumerate(trials):
        yield numbers, slice(p * n_seeds, (p + 1) * n_seeds)
