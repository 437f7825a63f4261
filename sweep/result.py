"""What goes into a job and what it leaves: one file, written whole or not at all."""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from sweep.config import Unreachable
from sweep.diagnosis import over_time
from sweep.engine.way import Way
from sweep.noise import mean_and_sem

FILE = "result.json"
PROOF = "proof"  # in a job's folder while it finds out how its model is trained
SEEDS_APART = 1000  # generation g takes the seeds from 1000 g on; study.seeds is at most this
CONFIRMATION = 1000  # the generation of its first look, whose seeds begin at 1,000,000
METRICS = ("val_loss", "val_error", "train_loss", "train_error", "gap")
Table = list[list[float]]  # (P, S), or (epochs, S) of one trial
Key = tuple[int, int]  # generation and trial number; below 0 stand the generation's baselines


@dataclass(frozen=True)
class Work:
    """What one job trains together: trials of one architecture, each once for each seed."""

    study: str  # digest of the study's fingerprint and sources
    generation: int
    seeds: list[int]
    trials: list[dict[str, Any]]  # {"number": 7, "params": {"dropout": 0.3}}
    test: bool = False  # whether the test samples are read at the end
    way: Way | None = None  # how they are to be trained, where a job has found it out
    points: list[dict[str, Any]] = field(default_factory=list)  # what it is found out with

    @property
    def title(self) -> str:
        if self.generation >= CONFIRMATION:
            return "confirmation"
        return f"generation {self.generation + 1}"


@dataclass(frozen=True)
class Left:
    """What training leaves of one trial."""

    curves: dict[str, Table] = field(default_factory=dict)  # metric -> (epochs, S)
    test: dict[str, list[float]] = field(default_factory=dict)  # test_loss, test_error: (S,)
    error: str | None = None  # the traceback where it failed
    lost: bool = False  # whether it took the device from its process: it is not tried again
    lowering: dict[str, Any] = field(default_factory=dict)  # how the members were run
    way: Way | None = None


def seeds_of(generation: int, n: int) -> list[int]:
    return [SEEDS_APART * generation + i for i in range(n)]


@dataclass(frozen=True)
class Outcome(Left):
    """What came of one trial, and of which."""

    params: dict[str, Any] = field(kw_only=True)
    seeds: list[int] = field(kw_only=True)
    member_epochs_per_second: float = field(kw_only=True)

    @classmethod
    def of_lost_job(cls, reason: str, params: dict[str, Any], seeds: list[int]) -> "Outcome":
        return cls(error=reason, params=params, seeds=seeds, member_epochs_per_second=0.0)

    def finals(self) -> dict[str, list[float]]:
        """Return each metric after the last epoch, for each seed."""
        return {metric: self.curves[metric][-1] for metric in METRICS}

    @property
    def diverged(self) -> int | None:
        """The first epoch, from 1, with a number that is not finite."""
        epochs = zip(*(self.curves[metric] for metric in METRICS), strict=True)
        for epoch, rows in enumerate(epochs, 1):
            if not all(math.isfinite(value) for row in rows for value in row):
                return epoch
        return None

    def numbers(self) -> dict[str, Any]:
        """Return what people look for at a trial in Optuna, beside its value."""
        finals = self.finals()
        sem = mean_and_sem(finals["val_loss"])[1]
        return {"val_loss_sem": sem, "gap": fmean(finals["gap"]), "seeds": self.seeds}

    def summary(self) -> dict[str, Any]:
        """Return the final metrics of each seed, and what else a report says of a trial."""
        finals = self.finals()
        dropout_on = self.curves["train_loss_dropout_on"][-1]
        return {
            **finals,
            **over_time(self.curves["val_loss"]),
            "curves": {m: [fmean(v) for v in self.curves[m]] for m in ("val_loss", "train_loss")},
            "noise_tax": [a - b for a, b in zip(dropout_on, finals["train_loss"], strict=True)],
            "params": self.params,
            "seeds": self.seeds,
            "member_epochs_per_second": self.member_epochs_per_second,
            "lowering": {**self.lowering, **(asdict(self.way) if self.way else {})},
        }


def to_json(work: Work) -> str:
    return json.dumps(asdict(work))


def from_json(text: str) -> Work:
    work = json.loads(text)
    return Work(**work | {"way": _way(work)})


def _way(saved: Mapping[str, Any]) -> Way | None:
    return Way(**saved["way"] | {"draws": tuple(saved["way"]["draws"])}) if saved["way"] else None


def to_text(work: Work, lefts: Sequence[Left], seconds: float) -> str:
    """Return what a job's trials left as JSON; nothing of them where they are suspect.

    Trials are suspect where they lost the device together, and one of them must be the culprit.
    """
    result = {**asdict(work), "outcomes": [asdict(left) for left in lefts], "seconds": seconds}
    return json.dumps(result)


def write(folder: Path, text: str) -> None:
    """Save a job's result, atomically."""
    temporary = folder / f"{FILE}.tmp"
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / FILE)


def read(jobs: Path, study: str, generation: int) -> dict[Key, Outcome]:
    """Read what a generation's jobs left; of two results of one trial the later job's counts."""
    outcomes: dict[Key, Outcome] = {}
    for result in _results(jobs, study, generation):
        outcomes |= of_trials(result)
    return outcomes


def ways(jobs: Path, study: str) -> list[tuple[dict[str, Any], Way]]:
    """Return how each trial of a study was trained, with what was searched of it."""
    found = (outcome for r in _results(jobs, study) for outcome in of_trials(r).values())
    return [(outcome.params, outcome.way) for outcome in found if outcome.way]


def suspects(jobs: Path, study: str, generation: int) -> list[list[Key]]:
    """Return the trials that lost the device together, job by job."""
    return [
        [(result["generation"], trial["number"]) for trial in result["trials"]]
        for result in _results(jobs, study, generation)
        if not result["outcomes"]
    ]


_generation_of: dict[tuple[Path, int], int] = {}  # by path and time: each is read whole but once


def _results(jobs: Path, study: str, generation: int | None = None) -> Iterator[dict[str, Any]]:
    for folder in filter(left, job_folders(jobs)):
        path = folder / FILE
        file = path, path.stat().st_mtime_ns
        if generation is None or _generation_of.get(file, generation) == generation:
            result = _whole(path)
            _generation_of[file] = result["generation"]
            if result["study"] == study and generation in (None, result["generation"]):
                yield result


def _whole(path: Path) -> dict[str, Any]:
    try:
        whole: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        raise Unreachable(f"{path}: is damaged; without it the same command goes on") from None
    return whole


def left(folder: Path) -> bool:
    """Tell whether a job left its result."""
    return (folder / FILE).exists()


def text(folder: Path) -> str:
    return (folder / FILE).read_text()


def unfinished(folders: Iterable[Path]) -> list[Path]:
    """Return the folders of the jobs that left no result."""
    return [folder for folder in folders if not left(folder)]


def job_folders(jobs: Path) -> list[Path]:
    return [jobs / str(number) for number in job_numbers(jobs)]


def job_numbers(jobs: Path) -> list[int]:
    return sorted(int(path.name) for path in jobs.glob("*") if path.name.isdigit())


def of_trials(result: Mapping[str, Any]) -> dict[Key, Outcome]:
    """Return what a job's result says of its trials."""
    lefts = [Left(**left | {"way": _way(left)}) for left in result["outcomes"]]
    seeds = result["seeds"]
    epochs = sum(len(left.curves.get("val_loss", ())) for left in lefts)
    speed = epochs * len(seeds) / result["seconds"]
    return {
        (result["generation"], trial["number"]): Outcome(
            **vars(left), params=trial["params"], seeds=seeds, member_epochs_per_second=speed
        )
        for trial, left in zip(result["trials"], lefts, strict=False)
    }
