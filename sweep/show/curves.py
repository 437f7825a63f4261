"""TensorBoard: one run a trial, its curves over epochs, written while it trains.

Each point is a mean over seeds; if there are several, `seeds/..._low` and `_high` are two
standard errors below and above it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata, summary_v2
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

from sweep.command.config import Config
from sweep.show.events import EventFile
from sweep.work import ADDED, CONFIRMATION, DROPOUT_ON, Key, Outcome

SEMS = 2  # from the mean to the ends of a band


def tag_of(metric: str) -> str:
    """Return a metric's tag, by which TensorBoard groups it: val_error is error/val."""
    if metric == "gap":
        return "gap/loss"
    if metric == DROPOUT_ON:
        return "loss/train_dropout_on"
    part, _, name = metric.partition("_")
    return f"{name}/{part}"


def band_tags(tag: str) -> tuple[str, str]:
    """Name the ends of a curve's band; in a group of their own, so that they hide no curve."""
    name = tag.replace("/", "_")
    return f"seeds/{name}_low", f"seeds/{name}_high"


@dataclass(frozen=True)
class Run:
    """A trial as TensorBoard has it."""

    params: Mapping[str, Any]
    trial: int
    generation: int

    @property
    def name(self) -> str:
        """The folder: sorting by name sorts by rate, and confirmation lies apart."""
        n_before, generation = divmod(self.generation, ADDED)
        rate, one_of = f"rate {self.params['dropout']:.2f}", max(self.trial, -1 - self.trial)
        if CONFIRMATION <= self.generation < ADDED:
            more = f".{one_of}" if one_of else ""
            return f"confirmation/{rate} look {self.generation - CONFIRMATION + 1}{more}"
        which = f"trial {self.trial:02d}"
        if self.trial < 0:
            which = f"baseline {generation:02d}" + (f".{one_of}" if one_of else "")
        return f"{rate} {which}" + (f" after {n_before} seeds" if n_before else "")

    @property
    def listed(self) -> bool:
        """Whether the table of hyperparameters has it: Optuna's trials and no others."""
        return self.trial >= 0 and self.generation < CONFIRMATION


def columns_of_study(folder: Path, config: Config) -> dict[str, str]:
    """Return what the table of hyperparameters tells several studies apart by."""
    targets = {"model": config.model, "data": config.data}
    names = {key: str(of["_target_"]).rpartition(".")[2] for key, of in targets.items()}
    return {"study": folder.name, **names}


class Curves:
    """The event files of the trials of one population; a context, which says how they ended.

    `of` are the columns that all trials of the study share.
    """

    @classmethod
    def begin_anew(cls, folder: Path, runs: Sequence[Run], of: Mapping[str, str]) -> "Curves":
        """Delete what a population that was cut short has logged, and begin with new files."""
        for run in runs:
            for old in (folder / run.name).glob("events.out.tfevents.*"):
                old.unlink()
        return cls(folder, runs, of)

    def __init__(self, folder: Path, runs: Sequence[Run], of: Mapping[str, str]) -> None:
        self.open = [(run, EventFile(folder / run.name)) for run in runs]
        self.diverged: set[str] = set()
        for run, writer in self.open:
            if run.listed:
                writer.add(
                    summary_v2.hparams_pb(
                        {**of, **run.params}, trial_id=f"{run.name}, {of['study']}"
                    )
                )
                writer.flush()

    def log(self, epoch: int, metrics: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Write the points of one epoch, counted from 1; metrics are (P, S)."""
        points: dict[str, list[float]] = {}  # tag -> of each run
        for metric, table in metrics.items():
            values = np.array(table)
            points[tag_of(metric)] = values.mean(1).tolist()
            if values.shape[1] > 1:
                with np.errstate(invalid="ignore"):  # of a run that diverged
                    half = SEMS * values.std(1, ddof=1) / math.sqrt(values.shape[1])
                    ends = values.mean(1) - half, values.mean(1) + half
                points |= {
                    t: y.tolist() for t, y in zip(band_tags(tag_of(metric)), ends, strict=True)
                }
        for place, (run, writer) in enumerate(self.open):
            of_run = {tag: of_runs[place] for tag, of_runs in points.items()}
            if not all(map(math.isfinite, of_run.values())):
                self.diverged.add(run.name)
            writer.add(scalar_summary(of_run), epoch)
        for _, writer in self.open:  # after all are written, so that no run waits for another's
            writer.flush()

    def select(self, places: Sequence[int]) -> None:
        """Go on with these runs alone."""
        for place, (run, writer) in enumerate(self.open):
            if place not in places:
                self._end(run, writer)
                writer.close()
        self.open = [self.open[place] for place in places]

    def __enter__(self) -> "Curves":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for run, writer in self.open:
            if kind is None or issubclass(kind, Exception):  # else it was stopped, and will go on
                self._end(run, writer, failed=kind is not None)
            writer.close()

    def _end(self, run: Run, writer: EventFile, failed: bool = False) -> None:
        """Let the table of hyperparameters show how a run ended."""
        if not run.listed:
            return
        status = STATUS_FAILURE if failed or run.name in self.diverged else STATUS_SUCCESS
        end = HParamsPluginData(session_end_info=SessionEndInfo(status=status))
        about = metadata.create_summary_metadata(end)
        tag, nothing = metadata.SESSION_END_INFO_TAG, metadata.NULL_TENSOR
        writer.add(Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=nothing)]))


def _run_of(key: Key, outcome: Outcome) -> Run:
    generation, number = key
    return Run(outcome.params, number, generation)


def is_drawn(folder: Path, key: Key, outcome: Outcome) -> bool:
    """Return whether a trial's curves lie in a study's folder."""
    run = folder / _run_of(key, outcome).name
    return next(run.glob("events.out.tfevents.*[0-9]"), None) is not None


def redraw_curves(folder: Path, config: Config, outcomes: Mapping[Key, Outcome]) -> None:
    """Write the event files of trials again, if their job could not write to this folder."""
    of = columns_of_study(folder, config)
    for key, outcome in outcomes.items():
        if outcome.error:
            continue
        with Curves.begin_anew(folder, [_run_of(key, outcome)], of) as curves:
            for epoch, rows in enumerate(zip(*outcome.curves.values(), strict=True), 1):
                metrics = zip(outcome.curves, ([row] for row in rows), strict=True)
                curves.log(epoch, dict(metrics))


def scalar_summary(points: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, simple_value=y) for tag, y in points.items()])
