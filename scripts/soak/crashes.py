"""A small study that is killed, or whose n-th call fails, again and again.

Each study runs in a process forked from this one, which has imported everything and trained
nothing, as `python -m sweep.run` would: same command, same exit codes.
"""

import importlib
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.soak import faults
from sweep import run
from sweep.show import figure

WARM = ("sweep.study.study", "sweep.jobs.job", "torch._dynamo")
for name in WARM:  # what else each child would import anew
    importlib.import_module(name)

N_TRIALS, EPOCHS = 6, 2
STUDY = ["data=mnist5k", "data.n_train=128", "data.n_val=64", "model.width=8", "study.name=mine"]
STUDY += [f"study.n_trials={N_TRIALS}", "study.generation=3", "study.seeds=2"]
STUDY += [f"train.epochs={EPOCHS}", "train.device=cpu", "train.lr=0.01"]
Acknowledged = dict[int, float | None]  # number -> value of the trials that the study has


@dataclass
class Command:
    """The command in a process of its own."""

    folder: Path
    before: Callable[[], None] = lambda: None  # done in the process before the command
    pid: int = field(init=False)
    told: int = field(init=False)
    code: int | None = None  # once it has ended; negative for a signal

    def __post_init__(self) -> None:
        self.told, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                code = self._child(write)
            finally:  # even if nothing can be written: nothing of the parent runs in a child
                os._exit(code)
        os.close(write)

    def _child(self, told: int) -> int:
        os.chdir(self.folder)
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        acknowledge(told)
        figure.image = lambda answer, panel: b""  # half of the time, and nothing depends on it
        figure.draw = lambda answer, path: path.touch()
        try:
            self.before()
            sys.argv = ["sweep.run", *STUDY]
            code = run.main()
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        return code

    def wait(self, seconds: float = 120.0) -> int | None:
        """Return the exit code; None where it still runs after so long."""
        end = time.monotonic() + seconds
        while self.code is None and time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.005)
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def acknowledged(self) -> Acknowledged:
        text = b""
        while select.select([self.told], [], [], 0)[0] and (part := os.read(self.told, 65536)):
            text += part
        os.close(self.told)
        return dict(map(json.loads, text.decode().splitlines()))


def acknowledge(pipe: int) -> None:
    """Write every trial into a pipe, once the study has it."""
    real = optuna.Study.add_trial

    def add_trial(self: Any, trial: optuna.trial.FrozenTrial) -> None:
        real(self, trial)
        os.write(pipe, f"{json.dumps([trial.number, trial.value])}\n".encode())

    optuna.Study.add_trial = add_trial  # type: ignore[method-assign]


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
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
    kept = {key: answer[key] for key in ("best", "gain", "test", "verdict", "confirmation")}
    rows = [(t.number, t.params, t.value, t.intermediate_values) for t in trials(folder)]
    return [rows, kept, points(folder)]


def points(folder: Path) -> dict[str, list[int]]:
    """Return the epochs of the validation curve of every run in TensorBoard."""
    steps = {}
    for path in sorted((folder / "runs" / "mine").glob("dropout=*")):
        events = EventAccumulator(str(path))
        events.Reload()
        drawn = "loss/val" in events.Tags()["scalars"]  # not where a kill came before
        steps[path.name] = [point.step for point in events.Scalars("loss/val")] if drawn else []
    return steps


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


def check(folder: Path, told: Acknowledged, tally: Tally) -> None:
    """Count what is lost of what was told so far."""
    try:
        values = {trial.number: trial.value for trial in trials(folder)}
    except Exception as error:
        tally.unreadable += 1
        tally.notes.append(f"{type(error).__name__}: {error}")
        return
    tally.lost += sum(values.get(number) != value for number, value in told.items())


def finish(folder: Path, told: Acknowledged, whole: list[Any], tally: Tally) -> None:
    """Begin again, now without a fault, and compare the end with that of a study never stopped."""
    begin = time.monotonic()
    last = Command(folder)
    code = last.wait()
    if code is None:
        last.kill()
    compare(folder, code, {**told, **last.acknowledged()}, whole, tally)
    tally.slowest = max(tally.slowest, time.monotonic() - begin)


def compare(
    folder: Path, code: int | None, told: Acknowledged, whole: list[Any], tally: Tally
) -> None:
    check(folder, told, tally)
    tally.running += sum(trial.state == TrialState.RUNNING for trial in trials(folder))
    if code != 0 or found(folder) != whole:
        tally.different += 1
        tally.notes.append(f"exit {code}: {(folder / 'output').read_text()[-1500:]}")


@contextmanager
def fresh_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def never_stopped() -> tuple[list[Any], float]:
    """Return what a study finds that nothing befalls, and how long it takes."""
    with fresh_folder() as folder:
        begin = time.monotonic()
        code = Command(folder).wait()
        assert code == 0, (folder / "output").read_text()
        return found(folder), time.monotonic() - begin


def random_kills(n: int, seed: int) -> Tally:
    """Kill a study at random moments until it ends by itself; then another one."""
    tally, rng = Tally("kill -9 at a random moment"), random.Random(seed)
    whole, seconds = never_stopped()
    while tally.tried < n:
        with fresh_folder() as folder:
            told: Acknowledged = {}
            while (code := (command := Command(folder)).wait(rng.uniform(0, seconds))) is None:
                command.kill()
                tally.tried += 1
                told |= command.acknowledged()
                check(folder, told, tally)
            compare(folder, code, told | command.acknowledged(), whole, tally)
    return tally


def every_call(kind: str, step: int, offset: int = 1) -> Tally:
    """Let each file or storage call of a whole study fail, or the process die there, in turn."""
    tally, (whole, _) = Tally(faults.TITLES[kind]), never_stopped()
    ended, n = False, offset
    while not ended:
        with fresh_folder() as folder:
            command = Command(folder, lambda n=n: faults.inject(kind, n))  # type: ignore[misc]
            code = command.wait()
            if code is None:
                command.kill()
            told = command.acknowledged()
            ended = not (folder / "struck").exists()
            if not ended:
                tally.tried += 1
                check(folder, told, tally)
                if kind == "fail" and code not in (0, 3):
                    tally.different += 1
                    tally.notes.append(f"exit {code}: {(folder / 'output').read_text()[-3000:]}")
                finish(folder, told, whole, tally)
        n += step
    tally.notes.append(f"K is about {n - step}")
    return tally
