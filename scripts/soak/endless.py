"""One study of thousands of trials in one process: nothing may grow but what is kept."""

import os
import sys
import time
from contextlib import chdir
from statistics import median
from typing import Any
from unittest.mock import patch

import optuna

from scripts.soak.crashes import fresh_folder
from sweep import run

ONE_STEP = ["data=mnist5k", "data.n_train=128", "data.n_val=32", "model.width=4", "train.epochs=1"]
ONE_STEP += ["study.seeds=1", "study.confirm=false", "sampler=random", "train.device=cpu"]
Moment = tuple[float, float, float, int]  # the clock, and of an ask: seconds, MiB, open files
HEAD = ["| trials | s for each | ms for an ask | MiB | open files |"]
HEAD += ["| --- | ---: | ---: | ---: | ---: |"]


def endless(n: int, generation: int = 50) -> list[str]:
    """Return a table: for each tenth of the trials, medians of what an ask took and found."""
    moments: list[Moment] = []
    real = optuna.Study.ask

    def ask(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        trial = real(*args, **kwargs)
        seconds = time.perf_counter() - begin
        moments.append((begin, seconds, memory(), len(os.listdir("/proc/self/fd"))))
        return trial

    counts = [f"study.n_trials={n}", f"study.generation={generation}"]
    with (
        fresh_folder() as folder,
        chdir(folder),
        patch.object(optuna.Study, "ask", ask),
        patch.object(sys, "argv", ["sweep.run", *ONE_STEP, *counts]),
    ):
        assert run.main() == 0
    moments.append((time.perf_counter(), 0, 0, 0))
    size = n // 10
    return HEAD + [tenth(i, moments[i : i + size + 1]) for i in range(0, n, size)]


def memory() -> float:
    """Return MiB that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def tenth(first: int, moments: list[Moment]) -> str:
    """Return a line of some moments; the last belongs to the next line."""
    n, each = len(moments) - 1, (moments[-1][0] - moments[0][0]) / (len(moments) - 1)
    _, asks, sizes, files = zip(*moments[:-1], strict=True)
    cells = [f"{first + 1} to {first + n}", f"{each:.3f}", f"{1000 * median(asks):.1f}"]
    return f"| {' | '.join([*cells, f'{median(sizes):.0f}', f'{median(files):.0f}'])} |"
