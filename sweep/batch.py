"""Jobs in one launch, of one study or of several: run, followed, and missed where they are lost."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from sweep import claim, result
from sweep.launcher import Launcher
from sweep.mistake import masked
from sweep.progress import progress
from sweep.result import Work
from sweep.training import Training

# runs jobs, each a list of overrides, the first with this number; returns what each of them does
Launch = Callable[[DictConfig, Sequence[Sequence[str]], int], Sequence[str | None]]
Jobs = Sequence[tuple[Training, Work]]


def run_jobs(jobs: Jobs, launcher: Launcher, launch: Launch) -> None:
    """Run jobs, at once where the launcher does; those that are lost leave no result."""
    size = launcher.at_a_time or max(1, len(jobs))
    for first in range(0, len(jobs), size):
        _run(jobs[first : first + size], launcher, launch)


def _run(jobs: Jobs, launcher: Launcher, launch: Launch) -> None:
    numbers = [n for training, _ in jobs for n in result.job_numbers(training.jobs)]
    first = 1 + max(numbers, default=-1)
    folders = [training.jobs / str(first + i) for i, (training, _) in enumerate(jobs)]
    config = _config(jobs[0][0], launcher)
    overrides = [training.overrides(work) for training, work in jobs]
    returned: Sequence[str | None]
    if launcher.alone:
        returned = launch(config, overrides, first)
    else:
        member_epochs = sum(training.member_epochs(work) for training, work in jobs)
        with progress.following(folders, member_epochs):
            try:
                returned = launch(config, overrides, first)
            except KeyboardInterrupt:
                claim.withdraw(_without_result(folders))
                raise
            except Exception as error:  # of its own kind in each launcher where a worker dies
                _miss(error, jobs, folders)
                returned = [None] * len(jobs)
    for number, ((training, _), left) in enumerate(zip(jobs, returned, strict=True), first):
        training.take_in(number, left)


def _config(training: Training, launcher: Launcher) -> DictConfig:
    """Return the config of a launcher that suits these jobs."""
    plan = training.plan
    config = plan.loader.load_sweep_config(plan.base, training.base_overrides())
    with open_dict(config):
        config.hydra.launcher = OmegaConf.merge(config.hydra.launcher, launcher.settings)
    return config


def _miss(error: Exception, jobs: Jobs, folders: Sequence[Path]) -> None:
    """Say why jobs are lost, and wait for those that go on without their launcher."""
    reason = masked(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    print(f"\nwarning: a job was lost: {reason}", file=sys.stderr)
    for training, _ in jobs:
        training.loss = reason
    claim.settle(_without_result(folders))


def _without_result(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in folders if not (folder / "result.json").exists()]
