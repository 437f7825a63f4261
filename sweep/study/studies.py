"""The studies of one command: one after another, or together if the launcher runs jobs at once."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
import torch

from sweep.answer.answer import Answer
from sweep.command.plan import Plan
from sweep.engine.device import pick_device
from sweep.errors import SweepFailed, Unreachable
from sweep.jobs.launch import Failures, Launch, run_jobs
from sweep.jobs.launcher import Launcher, read_launcher
from sweep.show import markdown
from sweep.show.progress import Bar
from sweep.study.opened import open_study_run
from sweep.study.preparation import prepare_study
from sweep.study.study import StudyRun
from sweep.workload.arrays import write_held


def run_studies(plans: Sequence[Plan], launch: Launch) -> list[Answer]:
    """Check every study, then run and report them; one that fails leaves the others alone."""
    with _quiet_optuna(), _stance_kept():
        return _run_all(plans, launch)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Let Optuna say nothing but errors meanwhile: mistakes are said in one line, by us."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _stance_kept() -> Iterator[None]:
    """Let what a program has compiled for itself run compiled again after its models were run."""
    if "torch._dynamo" in sys.modules:
        with torch.compiler.set_stance("default"):
            yield
        return
    try:
        yield
    finally:
        if "torch._dynamo" in sys.modules:
            torch.compiler.set_stance("default")


def _run_all(plans: Sequence[Plan], launch: Launch) -> list[Answer]:
    device = plans[0].config.train.device
    launcher = read_launcher(plans[0].cfg.hydra, lambda: _n_gpus(device))
    every = [prepare_study(plan, launcher) for plan in plans]
    studies = list({one.folder: one for one in every}.values())  # data may fall back
    for one in studies:
        write_held(one.plan.config.data)
    groups = [[one] for one in studies] if launcher.n_parallel == 1 else [studies]
    bar, answers, failed = Bar(), dict[Path, Answer](), list[Exception]()
    for group in groups:
        with ExitStack() as stack:
            runs = [stack.enter_context(open_study_run(one, launcher, bar)) for one in group]
            for study, failure in drive_studies(runs, launcher, launch, bar):
                if failure:
                    failed.append(failure)
                else:
                    answers[study.folder] = study.report()
                    bar.clear()
                    print(markdown.terminal_text(answers[study.folder], study.folder), flush=True)
    finished = [answers[one.folder] for one in studies if one.folder in answers]
    if len(finished) > 1:
        _compare_studies(finished, Path(os.path.commonpath([one.folder.parent for one in studies])))
    if failed:
        raise failed[0]
    return finished


def _n_gpus(device: str) -> int:
    """Return how many GPUs of this machine jobs may take."""
    picked = pick_device(device)
    if picked.type == "cpu":
        return 0
    return torch.cuda.device_count() if picked.index is None else 1


def _compare_studies(answers: list[Answer], folder: Path) -> None:
    print(markdown.comparison_table(answers), flush=True)
    picture = markdown.draw_best_rate_move(answers, folder)
    print(f"\nhow the best rate moves: {picture}" if picture else "", flush=True)
    print(f"curves of all: tensorboard --logdir {shlex.quote(os.path.relpath(folder))}", flush=True)


def drive_studies(
    studies: Sequence[StudyRun], launcher: Launcher, launch: Launch, bar: Bar
) -> Iterator[tuple[StudyRun, Exception | None]]:
    """Run studies to their ends; yield each that ended, with the reason if it cannot go on.

    What all of them request is trained in one launch.
    """
    bar.begin()
    requests = {study: study.run() for study in studies}
    failures: Failures = {}
    try:
        while requests:
            jobs = []
            for study, request in list(requests.items()):
                failure = failures.get(study.training)
                try:
                    works = request.throw(failure) if failure else next(request)
                except StopIteration:
                    del requests[study]
                    yield study, None
                except (SweepFailed, Unreachable) as error:
                    del requests[study]
                    yield study, error
                else:
                    jobs += [(study.training, work) for work in works]
            failures = run_jobs(jobs, launcher, launch, bar)
    finally:
        bar.close()
