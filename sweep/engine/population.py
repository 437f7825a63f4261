"""Trains members in lockstep: P trials x S seeds of one architecture, plainly or as one program.

Axes: P trials, S seeds, K = P * S members (trial by trial), B samples of a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.command.config import TrainConfig
from sweep.engine.augment import augmented
from sweep.engine.difference import check_evaluation, check_step
from sweep.engine.fused import Fused
from sweep.engine.noise import evaluation_keys, order_and_keys
from sweep.engine.objective import finish_outcomes, metric_of
from sweep.engine.plain import Plain
from sweep.engine.setting import Setting
from sweep.errors import Differs
from sweep.work import Way
from sweep.workload import generators
from sweep.workload.inputs import Inputs
from sweep.workload.split import Split

FUSED = Way("fused")


class Population:
    """P x S networks that take their steps together, each on its seed's batches."""

    def __init__(
        self,
        settings: Sequence[Setting],
        seeds: Sequence[int],
        config: TrainConfig,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        way: Way = FUSED,
    ) -> None:
        self.seeds, self.config, self.device, self.dtype = tuple(seeds), config, device, dtype
        self.engine: Plain | Fused
        if way.fused:
            self.engine = Fused(settings, seeds, config, device, dtype)
        else:
            self.engine = Plain(settings, seeds, config, device, dtype, frozenset(way.draws))

    @property
    def n_members(self) -> int:
        return self.engine.n_members

    def execution(self) -> dict[str, Any]:
        """How the members are run."""
        how = {"members_per_pass": self.engine.members_per_pass}
        how |= {"compiled": True} if self.engine.compiled else {}
        return how | ({"threads": torch.get_num_threads()} if self.device.type == "cpu" else {})

    def train_epoch(
        self, data: Split, epoch: int, on_steps: Callable[[float], None] = lambda n: None
    ) -> Tensor:
        """Train one epoch, in each seed's own order of samples.

        Returns each member's mean training loss (K,), with dropout on, while its weights change.
        Raises Differs if a member is seen to train unlike its plain model.
        """
        total = torch.zeros(self.n_members, dtype=self.dtype, device=self.device)
        n_trials = self.n_members // len(self.seeds)
        batches, keys = self._batches(epoch, len(data))
        known = keys.tolist() if data.augment else []  # once: a step must not wait for the device
        checked = _some_step(epoch, len(batches), self.n_members)
        with generators.restoring_states():
            before = generators.generator_states()
            self.engine.begin(keys, training=True)
            for step, rows in enumerate(batches):
                x, y = data[rows]
                if data.augment is not None:
                    x = augmented(data.augment, x, known[step])
                losses = self.step(x, y, step, checked.get(step))
                total += losses * data.share(rows).to(self.dtype).repeat(n_trials)
                on_steps(1)
            self._check_draws(before, training=True)
        self.engine.end_epoch()
        return total

    def step(self, x: Inputs, y: Tensor, step: int, check: int | None = None) -> Tensor:
        """Take one step of the current epoch; member `check` is compared with its plain model.

        x and y (S, B, ...). Returns the losses (K,).
        """
        if isinstance(self.engine, Fused) and check is not None:
            losses = check_step(self.engine, x, y, step, check)
        else:
            losses = self.engine.backward(x, y, step)
        self.engine.move(step)
        return losses

    def evaluate(self, data: Split, epoch: int = 0) -> dict[str, Tensor]:
        """Return the mean loss and second metric of each member (K,) by name, dropout off."""
        total = torch.zeros(4, self.n_members, dtype=torch.float64, device=self.device)
        for outcomes in self.outcomes(data, epoch):
            total += outcomes.sum(-1, dtype=torch.float64)
        return finish_outcomes(total, metric_of(data.targets, self.config))

    def evaluate_groups(self, data: Split, epoch: int, most: int) -> Tensor:
        """Return the sums of outcomes_of over groups of samples, (4, K, groups), dropout off.

        Each sample is a group, unless there are more than `most`: then sample i is in i % most.
        """
        n_groups = min(len(data), most)
        sums = torch.zeros(4, self.n_members, n_groups, dtype=torch.float64, device=self.device)
        for rows, outcomes in zip(self.evaluated(data), self.outcomes(data, epoch), strict=True):
            sums.index_add_(2, rows % n_groups, outcomes.double())
        return sums

    def outcomes(self, data: Split, epoch: int) -> Iterator[Tensor]:
        """Yield each member's outcomes_of every batch, (4, K, B), dropout off."""
        batches = self.evaluated(data)
        with generators.restoring_states():
            before = generators.generator_states()
            keys = [evaluation_keys(seed, epoch, len(batches)) for seed in self.seeds]
            self.engine.begin(torch.stack(keys, 1).to(self.device), training=False)
            for step, rows in enumerate(batches):
                yield self.engine.outcomes(*data[rows], step)
            self._check_draws(before, training=False)

    def evaluated(self, data: Split) -> Sequence[Tensor]:
        """Return the rows of each evaluation batch; they do not depend on the members."""
        return torch.split(torch.arange(len(data), device=self.device), self.config.eval_batch_size)

    def check(self, data: Split) -> None:
        """Raise Differs if a member's plain model has another loss in the first or last batch."""
        if isinstance(self.engine, Fused):
            batches = self.evaluated(data)
            for rows in {0: batches[0], len(batches) - 1: batches[-1]}.values():
                check_evaluation(self.engine, *data[rows])

    def _check_draws(self, before: dict[str, object], training: bool) -> None:
        known = self.engine.draws[training] if isinstance(self.engine, Plain) else frozenset()
        if drawn := generators.moved_generators(before) - known:
            names = " and ".join(sorted(drawn))
            why = f"it draws from the generator of {names}"
            raise Differs(why, tuple(sorted(generators.ALL)))

    def select(self, trials: Sequence[int]) -> None:
        """Continue with only these trials."""
        self.engine.select(trials)

    def _batches(self, epoch: int, n: int) -> tuple[Sequence[Tensor], Tensor]:
        """Return the rows (S, B) of each step, and the steps' noise keys (n_steps, S)."""
        size = self.config.batch_size
        orders, keys = zip(*(order_and_keys(s, epoch, n, size) for s in self.seeds), strict=True)
        steps = torch.split(torch.stack(orders).to(self.device), size, dim=1)
        return steps, torch.stack(keys, dim=1).to(self.device)


def _some_step(epoch: int, n_steps: int, n_members: int) -> dict[int, int]:
    """Return {step: member} for the member that is compared with its plain model in an epoch."""
    step, member = np.random.SeedSequence((epoch, 2)).generate_state(2).tolist()
    return {step % n_steps: member % n_members}
