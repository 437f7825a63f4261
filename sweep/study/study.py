"""Runs one study: propose a generation, train it, record the results, and confirm the answer.

A job's result file is written before the study records it, and what is recorded is in the study's
storage, so that the same command resumes from there.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from sweep.answer.answer import Answer, collect_answer
from sweep.answer.gain import LOOKS
from sweep.command.plan import Plan
from sweep.errors import SweepFailed, last_line
from sweep.jobs.claim import revoke_and_wait
from sweep.jobs.results import unfinished
from sweep.jobs.training import Training, TrainingRequests
from sweep.show import markdown
from sweep.show.dashboard import SHOWN_BY_DEFAULT, Dashboard
from sweep.study.confirm import confirm_answer
from sweep.study.record import (
    add_warning,
    has_baselines,
    record_baselines,
    record_note,
    record_trial,
)
from sweep.study.sampler import Proposer
from sweep.study.seeds import add_seeds
from sweep.work import seeds_of

REDRAW_GROWTH = 1.25  # in trials before pictures are drawn again: their cost grows with the trials


@dataclass(eq=False)
class StudyRun:
    """An open study, from its first trial to its last."""

    plan: Plan
    storage_study: optuna.Study
    training: Training
    dashboard: Dashboard
    n_shown: int = 0  # trials in the pictures

    def run(self) -> TrainingRequests[None]:
        """Train the missing trials; each has its result when this returns."""
        try:
            yield from self._train()
        finally:
            self.training.add_expected()  # there is no more to come, however it ended

    def _train(self) -> TrainingRequests[None]:
        revoke_and_wait(unfinished(self.training.results.folders()))
        n, size, config = self.plan.n_trials, self.plan.generation_size, self.plan.config
        n_missing = n - len(self._trials()[:n])
        if n > SHOWN_BY_DEFAULT:
            few = f"TensorBoard shows runs by default up to {SHOWN_BY_DEFAULT} only"
            print(f"warning: {n} trials: {few}; type a filter there", file=sys.stderr)
        if n_missing > 0:
            self._add_work(n_missing, "generation 1")
            if config.study.confirm:
                self.training.expect(2 * LOOKS[0].seeds * config.train.epochs)
        proposer = Proposer(self.plan)
        for generation, first in enumerate(range(0, n, size)):
            numbers = range(first, min(first + size, n))
            yield from self._train_generation(proposer, generation, numbers)
        if not self._has_complete_trial():
            raise SweepFailed(f"all trials of {self.training.name} failed; see {self.folder}")
        yield from add_seeds(self.storage_study, self.training)
        if config.study.confirm:
            yield from self._confirm()

    @property
    def folder(self) -> Path:
        return self.training.folder

    def _confirm(self) -> TrainingRequests[None]:
        try:
            yield from confirm_answer(self.storage_study, self.training)
        except SweepFailed as error:
            add_warning(self.storage_study, f"not confirmed: {last_line(str(error))}")

    def report(self) -> Answer:
        """Write the report of the study in its present state."""
        self.training.redraw_deleted()
        written = markdown.write_report(self.storage_study, self.folder)
        self.dashboard.write_answer(written, self.plan.n_generations + 1)
        record_note(self.storage_study, markdown.answer_text(written))
        return written

    def _has_complete_trial(self) -> bool:
        return any(trial.state == TrialState.COMPLETE for trial in self._trials())

    def _trials(self) -> list[FrozenTrial]:
        return self.storage_study.get_trials(deepcopy=False)

    def _add_work(self, n_trials: int, title: str = "") -> None:
        config = self.plan.config
        self.training.bar.add_work(n_trials * config.study.seeds * config.train.epochs, title)

    def _train_generation(
        self, proposer: Proposer, generation: int, numbers: range
    ) -> TrainingRequests[None]:
        """Train one generation, or what is missing of it, and record it."""
        study, config = self.storage_study, self.plan.config
        recorded = self._trials()[numbers.start : numbers.stop]
        wants_baselines = self._needs_baselines and not has_baselines(study, generation)
        if len(recorded) == len(numbers) and not wants_baselines:
            proposer.replay(recorded)
            return
        begin, trials = datetime.now(), proposer.ask(numbers)
        points = {n: trial.params for n, trial in list(trials.items())[len(recorded) :]}
        baselines = dict[int, dict[str, Any]]()
        if wants_baselines:
            baselines = {-1 - i: p for i, p in enumerate(self._baselines(trials.values()))}
        self._add_work(len(baselines))
        seeds = seeds_of(generation, config.study.seeds)
        outcomes = yield from self.training.outcomes(generation, seeds, {**points, **baselines})
        errors = [outcome.error for outcome in outcomes.values() if outcome.error]
        if len(errors) == len(outcomes) > 1 and not self._has_complete_trial():
            # not recorded: once it is mended, the same command resumes; one alone fails by itself
            raise SweepFailed(errors[0])
        for n in points:
            recorded.append(record_trial(study, trials[n], outcomes[n], config, begin))
        for trial, frozen in zip(trials.values(), recorded, strict=True):
            proposer.observe(trial, frozen)
            done = frozen.number in points and frozen.state == TrialState.COMPLETE
            if done and frozen.value is not None:
                self.training.bar.note_result(frozen.value, float(frozen.params["dropout"]))
        if wants_baselines:
            trained = [outcomes[number] for number in baselines]
            record_baselines(study, generation, trained, config.study.metric)
        if points:
            self._show(generation, numbers.stop)

    def _show(self, generation: int, n_trials: int) -> None:
        """Draw the present answer, if enough trials are new."""
        if n_trials >= REDRAW_GROWTH * self.n_shown and self._has_complete_trial():
            self.dashboard.show(collect_answer(self.storage_study), generation + 1)
            self.n_shown = n_trials

    def _baselines(self, trials: Iterable[Trial]) -> list[dict[str, Any]]:
        """Return what is trained without dropout in addition to a generation.

        If more than rates is searched, no dropout is tuned with a share of its own: the other
        numbers of a quarter of the generation, or of every trial in a grid.
        """
        rates = dict.fromkeys(self.plan.rates, 0.0)
        points = [{**trial.params, **rates} for trial in trials]
        distinct = list({json.dumps(point, sort_keys=True): point for point in points}.values())
        return distinct if self.plan.grid else distinct[: max(1, len(points) // 4)]

    @property
    def _needs_baselines(self) -> bool:
        """Whether baselines are trained apart from the trials, which may have none at rate 0."""
        axes = [axis for axis in self.plan.axes if axis.key in self.plan.rates]
        if self.plan.grid:
            has_zero = all(0 in axis.values for axis in axes)
        else:  # zoom's first level is the lowest rate
            has_zero = self.plan.sampler == "zoom" and all(axis.low == 0 for axis in axes)
        return self.plan.config.study.baseline and not has_zero
