"""Trains a population on a CPU in parts, side by side in processes of one thread each.

Two networks on a core each are up to twice as fast as one after another on both, and two programs
of half the members up to a tenth faster than one of all. What fails in a process is trained again
in the one that forked it, and reported from there.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sweep.command.config import TrainConfig
from sweep.engine.forked import Forked, IdleLooks, fork
from sweep.engine.population import Population
from sweep.engine.serving import Place, Steps
from sweep.engine.setting import Setting
from sweep.work import Way
from sweep.workload.split import Split

IDLE = 4  # of so many cores all but one may be idle; more are of use to a single process

if not torch.accelerator.is_available():
    # autograd starts its threads, which do not survive a fork, in its first backward pass; there
    # are none unless some tracer has registered devices by then
    torch.zeros((), requires_grad=True).backward()  # type: ignore[no-untyped-call]


def most_workers(way: Way, config: TrainConfig, device: torch.device) -> int:
    """Return how many processes may train side by side."""
    several = may_fork(config, device) and not way.in_one_process
    return torch.get_num_threads() if several else 1


def may_fork(config: TrainConfig, device: torch.device) -> bool:
    """Return whether training may take place in a process that is forked from this one.

    Where there is an accelerator, autograd has threads, and so has a compiler everywhere.
    """
    return device.type == "cpu" and not config.compile and not torch.accelerator.is_available()


@contextmanager
def population_of(
    settings: Sequence[Setting],
    seeds: Sequence[int],
    config: TrainConfig,
    device: torch.device,
    way: Way,
    n_workers: int,
    splits: Sequence[Split],
) -> Iterator["Population | Workers"]:
    """Give members that train in one process, or in as many as n_workers.

    splits are known to the processes without being sent.
    """
    shares = equal_shares(len(settings), len(seeds), n_workers)
    if len(shares) == 1 or IDLE * len(shares) < n_workers:
        yield Population(settings, seeds, config, device, way=way)
        return

    def share(trials: range, some: range) -> Population:
        own = [settings[trial] for trial in trials]
        return Population(own, [seeds[i] for i in some], config, device, way=way)

    workers = Workers(len(settings), seeds, splits)
    try:
        for trials, some in shares:
            workers.start(lambda t=trials, s=some: share(t, s), trials, some)  # type: ignore[misc]
        yield workers
    finally:
        workers.end()


def equal_shares(n_trials: int, n_seeds: int, n_workers: int) -> list[tuple[range, range]]:
    """Cut trials and seeds into at most n_workers parts, the largest as small as can be.

    Rates of a seed share their noise, so of equal cuts the one along the seeds is taken.
    """

    cuts = [(min(n_trials, n_workers // n), n) for n in range(1, min(n_seeds, n_workers) + 1)]

    def largest(cut: tuple[int, int]) -> tuple[int, int]:
        along_trials, along_seeds = cut
        size = math.ceil(n_trials / along_trials) * math.ceil(n_seeds / along_seeds)
        return size, -along_seeds

    along_trials, along_seeds = min(cuts, key=largest)
    return [
        (trials, seeds)
        for trials in _cut(n_trials, along_trials)
        for seeds in _cut(n_seeds, along_seeds)
    ]


def _cut(n: int, parts: int) -> list[range]:
    return [range(n * i // parts, n * (i + 1) // parts) for i in range(parts)]


@dataclass(frozen=True)
class Worker:
    """A process, and which part of a population is in it."""

    process: Forked
    trials: list[int]  # their places in the population
    seeds: range

    @property
    def n_members(self) -> int:
        return len(self.trials) * len(self.seeds)

    def members(self, n_seeds: int) -> Tensor:
        """Return the places of its members in the population."""
        return torch.tensor(
            [trial * n_seeds + seed for trial in self.trials for seed in self.seeds]
        )


class Workers:
    """A population whose members are in several processes; each has whole trials of some seeds."""

    def __init__(self, n_trials: int, seeds: Sequence[int], splits: Sequence[Split]) -> None:
        self.n_trials, self.seeds, self.splits = n_trials, tuple(seeds), list(splits)
        self.workers: list[Worker] = []

    def start(self, make: Callable[[], Population], trials: range, seeds: range) -> None:
        """Add a process that makes its part of the population."""
        self.workers.append(Worker(fork(make, self.splits), list(trials), seeds))

    def end(self) -> None:
        """End the processes, whatever they do."""
        for worker in self.workers:
            worker.process.end()
        self.workers = []

    @property
    def n_members(self) -> int:
        return self.n_trials * len(self.seeds)

    def execution(self) -> dict[str, Any]:
        """Do what Population.execution does."""
        each = self._ask("execution")
        most = max(one["members_per_pass"] for one in each)
        return each[0] | {"members_per_pass": most, "processes": len(self.workers)}

    def train_epoch(
        self, data: Split, epoch: int, on_steps: Callable[[float], None] = lambda n: None
    ) -> Tensor:
        """Do what Population.train_epoch does."""
        return self._joined(self._ask("train_epoch", data, epoch, on_steps=on_steps), 0)

    def evaluate(self, data: Split, epoch: int = 0) -> dict[str, Tensor]:
        """Do what Population.evaluate does."""
        answers = self._ask("evaluate", data, epoch)
        return {name: self._joined([one[name] for one in answers], 0) for name in answers[0]}

    def evaluate_groups(self, data: Split, epoch: int, most: int) -> Tensor:
        """Do what Population.evaluate_groups does."""
        return self._joined(self._ask("evaluate_groups", data, epoch, most), 1)

    def check(self, data: Split) -> None:
        """Do what Population.check does."""
        self._ask("check", data)

    def select(self, trials: Sequence[int]) -> None:
        """Continue with only these trials; a process that has none of them ends."""
        left = []
        for worker in self.workers:
            own = [place for place, trial in enumerate(worker.trials) if trial in trials]
            if own:
                places = [trials.index(worker.trials[place]) for place in own]
                left.append(replace(worker, trials=places))
                worker.process.tell("select", own)
            else:
                worker.process.end()
        self.workers, self.n_trials = left, len(trials)
        self._answers()

    def _joined(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Put the workers' parts of a tensor in the order of the population's members."""
        shape = list(parts[0].shape)
        shape[axis] = self.n_members
        whole = parts[0].new_empty(shape)
        for worker, part in zip(self.workers, parts, strict=True):
            whole.index_copy_(axis, worker.members(len(self.seeds)), part)
        return whole

    def _ask(
        self, what: str, *args: Any, on_steps: Callable[[float], None] | None = None
    ) -> list[Any]:
        """Let each process call a method of its population; return the answers."""
        places = {id(split): Place(i) for i, split in enumerate(self.splits)}
        for worker in self.workers:
            worker.process.tell(what, *(places.get(id(arg), arg) for arg in args))
        return self._answers(on_steps)

    def _answers(self, on_steps: Callable[[float], None] | None = None) -> list[Any]:
        """Wait for all processes; raise WorkerFailed if one has died or does nothing."""
        waiting = {worker.process: worker for worker in self.workers}
        answers, idle = dict[Forked, Any](), IdleLooks()
        while waiting:
            for process in idle.ready(list(waiting)):
                said = process.answer()
                if isinstance(said, Steps) and on_steps:
                    on_steps(said.n * waiting[process].n_members / self.n_members)
                else:
                    answers[process] = said
                    del waiting[process]
        return [answers[worker.process] for worker in self.workers]
