"""Jobs launched together, of one study or of several: run, followed, and noticed if lost."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from hydra.errors import HydraException
from hydra.types import TaskFunction
from omegaconf import DictConfig

from sweep.errors import BadInput, SweepFailed, Unreachable, last_line, mask_passwords, named_line
from sweep.jobs import claim, job
from sweep.jobs.launcher import Launcher
from sweep.jobs.results import PROOF, JobEnd, from_text, has_result, read_text, unfinished
from sweep.jobs.training import Training
from sweep.show.progress import Bar
from sweep.stop import stop_if_asked
from sweep.work import Work

Jobs = Sequence[tuple[Training, Work]]
Failures = dict[Training, SweepFailed | Unreachable]


class Launch(Protocol):
    """Runs jobs with Hydra's launcher."""

    def __call__(
        self,
        config: DictConfig,
        jobs: Sequence[Sequence[str]],
        first: int,
        task: TaskFunction | None,
    ) -> Sequence[str | None]:
        """Run jobs, each a list of overrides, numbered from `first`; return what each returns.

        Each runs `task`, or what the command runs in a process of its own if that is None.
        """
        ...


def run_jobs(jobs: Jobs, launcher: Launcher, launch: Launch, bar: Bar) -> Failures:
    """Run jobs, in parallel if the launcher does; return why studies cannot go on.

    A lost job leaves no result; one that was lost before runs alone and takes no other along.
    """
    fresh = [(training, work) for training, work in jobs if not training.n_attempts(work)]
    size = launcher.max_per_launch or max(1, len(fresh))
    batches = [fresh[first : first + size] for first in range(0, len(fresh), size)]
    batches += [[(training, work)] for training, work in jobs if training.n_attempts(work)]
    failures: Failures = {}
    for batch in batches:
        failures = _run_batch(batch, launcher, launch, bar) | failures
    return failures


def _run_batch(jobs: Jobs, launcher: Launcher, launch: Launch, bar: Bar) -> Failures:
    numbers = [n for training, _ in jobs for n in training.results.numbers()]
    first = 1 + max(numbers, default=-1)
    folders = [training.results.jobs / str(first + i) for i, (training, _) in enumerate(jobs)]
    training = jobs[0][0]
    config = training.plan.hydra_config(training.base_overrides(), launcher.settings)
    overrides = [training.overrides(work) for training, work in jobs]
    if launcher.in_process:
        returned = launch(config, overrides, first, partial(job.run_job, bar=bar))
        ends = [from_text(text) if text else None for text in returned]
    else:
        ends = _run_followed(jobs, folders, lambda: launch(config, overrides, first, None), bar)
    failures: Failures = {}
    for number, ((training, work), end) in enumerate(zip(jobs, ends, strict=True), first):
        if end:
            training.count_attempt(work)
        try:
            training.accept(number, end)
        except (SweepFailed, Unreachable) as error:
            failures.setdefault(training, error)
    return failures


def _run_followed(
    jobs: Jobs, folders: Sequence[Path], launch: Callable[[], Sequence[str | None]], bar: Bar
) -> list[JobEnd | None]:
    """Run jobs in other processes, some of which may die; return how each ends, None if unknown."""
    before = bar.done
    try:
        try:
            with bar.following(folders):
                returned = launch()
        except Exception as error:  # each launcher has its own kind for a worker that died
            stop_if_asked()
            _handle_loss(error, jobs, folders)
            returned = [read_text(f) if has_result(f) else None for f in folders]
    except KeyboardInterrupt:
        claim.revoke_claims(unfinished(folders))
        raise
    ends = [from_text(text) if text else None for text in returned]
    done = [t.member_epochs(w) for (t, w), end in zip(jobs, ends, strict=True) if end]
    bar.advance(before + sum(done) - bar.done)
    return ends


def _handle_loss(error: Exception, jobs: Jobs, folders: Sequence[Path]) -> None:
    """Say why jobs are lost, and wait for those that go on without their launcher."""
    text = str(error)  # Ray's is the worker's traceback
    reason = mask_passwords(last_line(text) if "Traceback" in text else named_line(error))
    begun = [(folder / claim.FILE).exists() for folder in folders]
    if not any(begun) and isinstance(error, ValueError | TypeError | HydraException):
        raise BadInput(f"hydra.launcher: {reason}") from None  # one of its settings is wrong
    print(f"\nwarning: a job was lost: {reason}", file=sys.stderr)
    claim.revoke_and_wait(unfinished(folders))
    for (training, work), folder, began in zip(jobs, folders, begun, strict=True):
        if not has_result(folder) and (began or not any(begun)):
            training.count_attempt(work)
            training.reason = reason
            training.died |= (folder / PROOF).exists()
