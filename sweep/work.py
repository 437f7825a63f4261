"""What travels between a study and its jobs: values only."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

SEEDS_APART = 1000  # generation g takes the seeds from 1000 g on; study.seeds is at most this
CONFIRMATION = 1000  # the generation of its first look, whose seeds begin at 1,000,000
LOOKS_AT_MOST = 3  # of a confirmation
CONFIRMATION_GENERATIONS = LOOKS_AT_MOST + 1  # the last one has other learning rates
ADDED = 10_000  # times the seeds that a trial had, plus its generation: that of seeds added later
DROPOUT_ON = "train_loss_dropout_on"  # the loss that training minimised; all others are without
# the second metric, beside the loss, by what the targets are; parts of one, but for rmse
SECOND_METRICS = ("error", "token_error", "pixel_error", "wrong_labels", "rmse")
LOWEST = "lowest"  # the searched metric at each training's best epoch, which picks by luck too
Table = list[list[float]]  # (P, S), or (epochs, S) of one trial
Key = tuple[int, int]  # generation and trial number; numbers below 0 are the generation's baselines


def second_metric(metrics: Iterable[str]) -> str | None:
    """Return the name of the second metric among these of validation, such as error."""
    names = (metric.removeprefix("val_") for metric in metrics if metric.startswith("val_"))
    return next((name for name in names if name != "loss"), None)


def lowest(curve: Table) -> list[float]:
    """Return the lowest finite number of each seed over the epochs, or nan."""
    columns = ([v for v in seed if math.isfinite(v)] for seed in zip(*curve, strict=True))
    return [min(column, default=math.nan) for column in columns]


def seeds_of(generation: int, n: int) -> list[int]:
    return [SEEDS_APART * generation + i for i in range(n)]


@dataclass(frozen=True)
class Way:
    """How a population is trained: member by member, or fused into one program."""

    kind: str = "plain"  # plain | fused
    why: str = ""  # it is plain
    draws: tuple[str, ...] = ()  # the process's generators that the model draws from, known before
    zero: bool = False  # whether rate 0 is built at 0, since there the model is another
    device: str = ""  # type of device and version of torch on which it was proven
    torch: str = ""
    in_one_process: bool = False  # since one of several failed

    @property
    def fused(self) -> bool:
        return self.kind == "fused"

    def plainly(self, why: str, draws: tuple[str, ...] = (), zero: bool = False) -> "Way":
        """Return the plain way, with a reason that can be part of a command line."""
        plain = re.sub(r'["\\\\$]|[^ -~]', "", why)
        return replace(self, kind="plain", why=plain[:300], draws=draws, zero=zero)


@dataclass(frozen=True)
class Trial:
    """One point of the search space, as a job needs to know it."""

    number: int  # Optuna's; below 0 for a baseline
    params: dict[str, Any]  # {"dropout": 0.3}


@dataclass(frozen=True)
class Work:
    """What one job trains together: trials of one architecture, each once for each seed."""

    study: str  # digest of the study's fingerprint and sources
    generation: int
    seeds: list[int]
    trials: list[Trial]
    test: bool = False  # whether the test samples are read at the end
    way: Way | None = None  # how they are trained, if a job has found it out already
    points: list[dict[str, Any]] = field(default_factory=list)  # with which a job finds it out

    @property
    def title(self) -> str:
        if self.generation >= ADDED:
            return "more seeds"
        if self.generation >= CONFIRMATION:
            look = (self.generation - CONFIRMATION) % CONFIRMATION_GENERATIONS + 1
            others = "other learning rates", f"look {look} of at most {LOOKS_AT_MOST}"
            return f"confirmation, {others[look <= LOOKS_AT_MOST]}"
        return f"generation {self.generation + 1}"


@dataclass(frozen=True)
class TrialResult:
    """What a job says of one trial."""

    curves: dict[str, Table] = field(default_factory=dict)  # metric -> (epochs, S)
    test: dict[str, list[float]] = field(default_factory=dict)  # test_loss ...: (S,)
    samples: dict[str, list[float]] = field(default_factory=dict)  # of each, a mean over seeds
    error: str | None = None  # the traceback, if it failed
    lost: bool = False  # whether it took the device from its process: it is not tried again
    execution: dict[str, Any] = field(default_factory=dict)  # how the members were run
    way: Way | None = None


@dataclass(frozen=True)
class Outcome(TrialResult):
    """A trial's result, with its point and its seeds."""

    params: dict[str, Any] = field(kw_only=True)
    seeds: list[int] = field(kw_only=True)
    member_epochs_per_second: float = field(kw_only=True)

    def finals(self) -> dict[str, list[float]]:
        """Return each metric after the last epoch, for each seed."""
        return {metric: rows[-1] for metric, rows in self.curves.items() if metric != DROPOUT_ON}

    @property
    def diverged(self) -> int | None:
        """The first epoch, from 1, with a number that is not finite."""
        tables = (table for metric, table in self.curves.items() if metric != DROPOUT_ON)
        epochs = zip(*tables, strict=True)
        for epoch, rows in enumerate(epochs, 1):
            if not all(math.isfinite(value) for row in rows for value in row):
                return epoch
        return None
