"""What goes into a job and what it leaves: one file, written whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from sweep.diagnosis import over_time
from sweep.noise import mean_and_sem

SEEDS_APART = 1000  # generation g takes the seeds from 1000 g on; study.seeds is at most this
CONFIRMATION = 1000  # the generation of its first look, whose seeds begin at 1,000,000
METRICS = ("val_loss", "val_error", "train_loss", "train_error", "gap")
Table = list[list[float]]  # (P, S), or (epochs, S) of one trial
Key = tuple[int, int]  # generation and trial number; below 0 stand the generation's baselines


@dataclass(frozen=True)
class Work:
    """What one job trains together: trials of one architecture, each once for each seed."""

    study: str  # digest of the study's fingerprint
    generation: int
    seeds: list[int]
    trials: list[dict[str, Any]]  # {"number": 7, "params": {"dropout": 0.3}}
    test: bool = False  # whether the test samples are read at the end

    @property
    def title(self) -> str:
        if self.generation >= CONFIRMATION:
            return "confirmation"
        return f"generation {self.generation + 1}"


def seeds_of(generation: int, n: int) -> list[int]:
    return [SEEDS_APART * generation + i for i in range(n)]


@dataclass(frozen=True)
class Outcome:
    """What came of one trial."""

    params: dict[str, Any]
    seeds: list[int]
    curves: dict[str, Table]  # metric -> (epochs, S)
    member_epochs_per_second: float = 0.0
    test: dict[str, list[float]] = field(default_factory=dict)  # test_loss, test_error: (S,)
    error: str | None = None  # the traceback of a job that failed

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
        }


def to_json(work: Work) -> str:
    return json.dumps(asdict(work))


def from_json(text: str) -> Work:
    return Work(**json.loads(text))


def write(folder: Path, work: Work, result: Mapping[str, Any]) -> None:
    """Save a job's result atomically.

    It holds what `job.train` returns and `seconds`, or `error`.
    """
    temporary = folder / "result.json.tmp"
    with temporary.open("w") as file:
        json.dump({**asdict(work), **result}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, folder / "result.json")


def read(jobs: Path, study: str) -> dict[Key, Outcome]:
    """Read what the jobs of a study left; of two results of one trial the later job's counts."""
    outcomes: dict[Key, Outcome] = {}
    for number in job_numbers(jobs):
        path = jobs / str(number) / "result.json"
        if path.exists():
            result = json.loads(path.read_text())
            if result["study"] == study:
                outcomes |= _outcomes(result)
    return outcomes


def job_numbers(jobs: Path) -> list[int]:
    return sorted(int(path.name) for path in jobs.glob("*") if path.name.isdigit())


def _outcomes(result: Mapping[str, Any]) -> dict[Key, Outcome]:
    error, curves = result.get("error"), result.get("curves", [{} for _ in result["trials"]])
    trained = sum(len(of_trial.get("val_loss", ())) for of_trial in curves)  # epochs
    speed = trained * len(result["seeds"]) / result.get("seconds", 1.0)
    outcomes = {}
    for p, trial in enumerate(result["trials"]):
        test = {metric: table[p] for metric, table in result.get("tested", {}).items()}
        outcomes[result["generation"], trial["number"]] = Outcome(
            trial["params"], result["seeds"], curves[p], speed, test, error
        )
    return outcomes
