"""A small study that is killed, or whose n-th call fails, again and again.

Each study runs in a process forked from this one, which has imported everything and trained
nothing, as `python -m sweep.run` would: same command, same exit codes.
"""

import importlib
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.soak import faults
from sweep import run
from sweep.show import figure

for name in ("sweep.study.studies", "sweep.jobs.job", "torch._dynamo"):
    importlib.import_module(name)  # or each child would

STUDY = ["data=mnist5k", "data.n_train=128", "data.n_val=64", "model.width=8", "study.name=mine"]
STUDY += ["study.n_trials=6", "study.generation=3", "study.seeds=2", "train.epochs=2"]
STUDY += ["train.device=cpu", "train.lr=0.01"]
fresh_folder = partial(tempfile.TemporaryDirectory, prefix="soak-")


@dataclass
class Tally:
    """What was tried, and what went wrong."""

    title: str
    tried: int = 0
    lost: int = 0  # results that were acknowledged and are not there
    unreadable: int = 0  # studies
    running: int = 0  # trials left behind
    different: int = 0  # studies that did not end as the one never stopped
    slowest: float = 0.0  # seconds, from beginning again to the end
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.unreadable or self.running or self.different)

    def row(self) -> str:
        cells = [self.title, self.tried, self.lost, self.unreadable, self.running, self.different]
        return f"| {' | '.join(map(str, cells))} | {self.slowest:.1f} |"

    def differs(self, folder: Path, code: int | None, where: str = "") -> None:
        self.different += 1
        output = (folder / "output").read_text()[-3000:]
        self.notes.append(f"exit {code}{where}: {output}")


def start(folder: Path, before: Callable[[], None] = lambda: None) -> ForkProcess:
    """Begin the command in a process of its own, in which something is done before it."""
    (folder / "told").touch()
    process = get_context("fork").Process(target=_command, args=(folder, before))
    process.start()
    return process


def _command(folder: Path, before: Callable[[], None]) -> None:
    os.chdir(folder)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1), os.dup2(output, 2)
    _acknowledge(os.open("told", os.O_WRONLY | os.O_APPEND))
    figure.panel_image = lambda answer, panel: b""  # half of the time, and nothing depends on it
    figure.draw_panels = lambda answer, path: path.touch()
    before()
    sys.argv = ["sweep.run", *STUDY]
    sys.exit(run.main())


def _acknowledge(told: int) -> None:
    """Write the number and value of every trial into a file, once the study has it."""
    real = optuna.Study.add_trial

    def add_trial(self: Any, trial: FrozenTrial) -> None:
        real(self, trial)
        os.write(told, f"{json.dumps([trial.number, trial.value])}\n".encode())

    optuna.Study.add_trial = add_trial  # type: ignore[method-assign]


def wait(process: ForkProcess, seconds: float = 120.0) -> int | None:
    """Return the exit code; a command that still runs after so long is killed, and has none."""
    process.join(seconds)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return code


def trials(folder: Path) -> list[FrozenTrial]:
    """Return the trials of the study, as another program reads them; none before it is there."""
    database = folder / "runs" / "mine" / "study.db"
    if not database.exists() or not database.stat().st_size:
        return []
    try:
        return optuna.load_study(study_name="mine", storage=f"sqlite:///{database}").trials
    except KeyError:  # the file is there, the study is not yet
        return []


def found(folder: Path) -> list[Any]:
    """Return all that must be the same however often a study was stopped."""
    answer = json.loads((folder / "runs" / "mine" / "answer.json").read_text())
    kept = [answer[key] for key in ("best", "use", "verdict", "confirmation")]
    rows = [[t.number, t.params, t.value, t.intermediate_values] for t in trials(folder)]
    runs = sorted((folder / "runs" / "mine").rglob("rate *"))
    return [rows, kept, {path.name: epochs(path) for path in runs}]


def epochs(run: Path) -> list[int]:
    """Return the epochs of a run's validation curve in TensorBoard."""
    events = EventAccumulator(str(run))
    events.Reload()
    drawn = "loss/val" in events.Tags()["scalars"]  # not if a kill came before
    return [point.step for point in events.Scalars("loss/val")] if drawn else []


def check(folder: Path, tally: Tally) -> None:
    """Count what is lost of what was told so far."""
    told = map(json.loads, (folder / "told").read_text().splitlines())
    try:
        values = {trial.number: trial.value for trial in trials(folder)}
    except Exception as error:
        tally.unreadable += 1
        tally.notes.append(f"{type(error).__name__}: {error}")
        return
    tally.lost += sum(values.get(number) != value for number, value in told)


def compare(folder: Path, code: int | None, whole: list[Any], tally: Tally) -> None:
    """Compare how a study ended with the end of one that was never stopped."""
    check(folder, tally)
    tally.running += sum(trial.state == TrialState.RUNNING for trial in trials(folder))
    if code != 0:
        tally.differs(folder, code)
    elif (here := found(folder)) != whole:
        tally.differs(folder, code, f", another end at {first_difference(here, whole)}")


def first_difference(one: Any, other: Any) -> str:
    """Return where two ends first differ, and both values there."""
    mine, theirs = (dict(enumerate(of)) if isinstance(of, list) else of for of in (one, other))
    if not (isinstance(mine, dict) and isinstance(theirs, dict) and mine.keys() == theirs.keys()):
        return f"{one} instead of {other}"
    key = next(key for key in mine if mine[key] != theirs[key])
    return f"{key} > {first_difference(mine[key], theirs[key])}"


def never_stopped() -> tuple[list[Any], float]:
    """Return what a study finds that nothing befalls, and how long it takes."""
    with fresh_folder() as name:
        folder, begin = Path(name), time.monotonic()
        code = wait(start(folder))
        assert code == 0, (folder / "output").read_text()
        return found(folder), time.monotonic() - begin


def random_kills(n: int, seed: int) -> Tally:
    """Kill a study at random moments until it ends by itself; then another one."""
    tally, rng = Tally("kill -9 at a random moment"), random.Random(seed)
    whole, seconds = never_stopped()
    while tally.tried < n:
        with fresh_folder() as name:
            folder = Path(name)
            while (code := wait(start(folder), rng.uniform(0, seconds))) is None:
                tally.tried += 1
                check(folder, tally)
            compare(folder, code, whole, tally)
    return tally


def every_call(kind: str, step: int, first: int = 1) -> Tally:
    """Let each file or storage call of a whole study fail, or the process die there, in turn."""
    tally, (whole, _) = Tally(faults.TITLES[kind]), never_stopped()
    for n in itertools.count(first, step):
        with fresh_folder() as name:
            folder = Path(name)
            code = wait(start(folder, partial(faults.inject, kind, n)))
            if not (folder / "struck").exists():
                break
            tally.tried += 1
            check(folder, tally)
            if kind == "fail" and code not in (0, 3):
                tally.differs(folder, code)
            begin = time.monotonic()
            compare(folder, wait(start(folder)), whole, tally)
            tally.slowest = max(tally.slowest, time.monotonic() - begin)
    tally.notes.append(f"a study makes fewer than {n} calls")
    return tally
