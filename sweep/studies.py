"""The studies of one command: one after another, or together where a launcher runs jobs at once."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from sweep import report
from sweep.batch import Failures, Launch, run_jobs
from sweep.config import Unreachable
from sweep.findings import Answer
from sweep.job import pick_device
from sweep.launcher import Launcher, launcher
from sweep.plan import Plan
from sweep.progress import progress
from sweep.study import Search
from sweep.training import SweepFailed


def run(plans: Sequence[Plan], launch: Launch) -> None:
    """Check every study, then run and report them; one that fails leaves the others alone."""
    device = plans[0].config.train.device
    chosen = launcher(plans[0].cfg.hydra, lambda: _n_gpus(device))
    every = [Search(plan, chosen) for plan in plans]
    searches = list({search.folder: search for search in every}.values())  # data may fall back
    together = [[search] for search in searches] if chosen.at_once == 1 else [searches]
    answers: dict[Search, Answer] = {}
    failed: list[Exception] = []
    for group in together:
        with ExitStack() as stack:
            for search in group:
                stack.enter_context(search.opened())
            for search, failure in train(group, chosen, launch):
                if failure:
                    failed.append(failure)
                else:
                    answers[search] = search.report()
                    progress.clear()
                    print(report.text(answers[search], search.folder), flush=True)
    if len(answers) > 1:
        _compare([answers[search] for search in searches if search in answers], searches[0].folder)
    if failed:
        raise failed[0]


def _n_gpus(device: str) -> int:
    """Return how many GPUs of this machine jobs may take."""
    chosen = pick_device(device)
    if chosen.type == "cpu":
        return 0
    return torch.cuda.device_count() if chosen.index is None else 1


def _compare(answers: list[Answer], folder: Path) -> None:
    print(report.comparison(answers), flush=True)
    picture = report.moved(answers, folder.parent)
    print(f"\nhow the best rate moves: {picture}" if picture else "", flush=True)
    together = os.path.relpath(folder.parent)
    print(f"curves of all: tensorboard --logdir {together}", flush=True)


def train(
    searches: Sequence[Search], chosen: Launcher, launch: Launch
) -> Iterator[tuple[Search, Exception | None]]:
    """Drive studies to their ends, what all of them want trained in one launch; yield each ended.

    With a study that cannot go on comes why.
    """
    progress.begin()
    steps = {search: search.run() for search in searches}
    failures: Failures = {}
    try:
        while steps:
            jobs = []
            for search, step in list(steps.items()):
                failure = failures.get(search.training)
                try:
                    works = step.throw(failure) if failure else next(step)
                except StopIteration:
                    del steps[search]
                    yield search, None
                except (SweepFailed, Unreachable) as error:
                    del steps[search]
                    yield search, error
                else:
                    jobs += [(search.training, work) for work in works]
            failures = run_jobs(jobs, chosen, launch)
    finally:
        progress.close()
