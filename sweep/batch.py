"""Jobs in one launch, of one study or of several: run, followed, and missed where they are lost."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from sweep import claim, result
from sweep.config import BadInput, Unreachable
from sweep.launcher import Launcher
from sweep.mistake import masked
from sweep.progress import progress
from sweep.result import Work
from sweep.training import SweepFailed, Training

# runs jobs, each a list of overrides, the first with this number; returns what each of them does
Launch = Callable[[DictConfig, Sequence[Sequence[str]], int], Sequence[str | None]]
Jobs = Sequence[tuple[Training, Work]]
Failures = dict[Training, SweepFailed | Unreachable]


def run_jobs(jobs: Jobs, launcher: Launcher, launch: Launch) -> Failures:
    """Run jobs, at once where the launcher does; return why studies cannot go on.

    Jobs that are lost leave no result; lost before, they run alone and take no other along.
    """
    fresh = [(training, work) for training, work in jobs if not training.tried(work)]
    size = launcher.at_a_time or max(1, len(fresh))
    batches = [fresh[first : first + size] for first in range(0, len(fresh), size)]
    batches += [[(training, work)] for training, work in jobs if training.tried(work)]
    failures: Failures = {}
    for batch in batches:
        failures = _run(batch, launcher, launch) | failures
    return failures


def _run(jobs: Jobs, launcher: Launcher, launch: Launch) -> Failures:
    numbers = [n for training, _ in jobs for n in result.job_numbers(training.jobs)]
    first = 1 + max(numbers, default=-1)
    folders = [training.jobs / str(first + i) for i, (training, _) in enumerate(jobs)]
    config = _config(jobs[0][0], launcher)
    overrides = [training.overrides(work) for training, work in jobs]
    if launcher.alone:
        returned = launch(config, overrides, first)
    else:
        returned = _followed(jobs, folders, lambda: launch(config, overrides, first))
    failures: Failures = {}
    for number, ((training, work), left) in enumerate(zip(jobs, returned, strict=True), first):
        if left:
            training.count(work)
        try:
            training.take_in(number, left)
        except (SweepFailed, Unreachable) as error:
            failures.setdefault(training, error)
    return failures


def _followed(
    jobs: Jobs, folders: Sequence[Path], launch: Callable[[], Sequence[str | None]]
) -> Sequence[str | None]:
    """Run jobs in other processes, of which some may die; return what each returns, if anything."""
    before = progress.done
    try:
        try:
            with progress.following(folders):
                returned = launch()
        except Exception as error:  # of its own kind in each launcher where a worker dies
            _miss(error, jobs, folders)
            returned = [result.text(f) if result.left(f) else None for f in folders]
    except KeyboardInterrupt:
        claim.withdraw(result.unfinished(folders))
        raise
    done = [t.member_epochs(w) for (t, w), left in zip(jobs, returned, strict=True) if left]
    progress.advance(before + sum(done) - progress.done)
    return returned


def _miss(error: Exception, jobs: Jobs, folders: Sequence[Path]) -> None:
    """Say why jobs are lost, and wait for those that go on without their launcher."""
    reason = masked(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    begun = [(folder / claim.FILE).exists() for folder in folders]
    if not any(begun) and isinstance(error, ValueError | TypeError | HydraException):
        raise BadInput(f"hydra.launcher: {reason}") from None  # of what it was told
    print(f"\nwarning: a job was lost: {reason}", file=sys.stderr)
    claim.settle(result.unfinished(folders))
    for (training, work), folder, began in zip(jobs, folders, begun, strict=True):
        if not result.left(folder) and (began or not any(begun)):
            training.count(work)
            training.reason = reason
            training.died |= (folder / result.PROOF).exists()


def _config(training: Training, launcher: Launcher) -> DictConfig:
    """Return the config of a launcher that suits these jobs."""
    plan = training.plan
    config = plan.loader.load_sweep_config(plan.base, training.base_overrides())
    with open_dict(config):
        config.hydra.launcher = OmegaConf.merge(config.hydra.launcher, launcher.settings)
    return config
