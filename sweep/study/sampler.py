"""Proposes the next trials: with Optuna's samplers, and three of ours.

A trial's point follows from its number and the trials of earlier generations alone, so a resumed
study asks for the same points as one that was never stopped.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from scipy.stats import qmc

from sweep.answer.levels import even_levels, zoomed_levels
from sweep.command.plan import Plan
from sweep.command.space import Axis

LAST = 3  # generations, beside the first one, that the next levels are chosen by


class Proposer:
    """Proposes the points of a study, generation by generation.

    It asks an Optuna study of its own, in memory, and reports the results there: the storage has
    finished trials only, and a generation that was interrupted is proposed again alike.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.study = plan, optuna.create_study()
        self.space = {axis.key: axis.distribution(plan.grid) for axis in plan.axes}

    def ask(self, numbers: range) -> dict[int, Trial]:
        """Propose a generation."""
        asked, ours = {}, sampler_of(self.plan, numbers.start)
        for number in numbers:
            fixed = isinstance(ours, _PointSampler)  # the same for all of a generation
            self.study.sampler = ours if fixed else sampler_of(self.plan, number)
            asked[number] = self.study.ask(self.space)
        return asked

    def observe(self, trial: Trial, recorded: FrozenTrial) -> None:
        """Learn the result of a trial that was proposed."""
        lean = self._lean(recorded)
        for epoch, value in lean.intermediate_values.items():
            trial.report(value, epoch)
        for key, attribute in lean.user_attrs.items():
            trial.set_user_attr(key, attribute)
        complete = recorded.state == TrialState.COMPLETE
        self.study.tell(trial, recorded.value if complete else None, state=recorded.state)

    def replay(self, recorded: Sequence[FrozenTrial]) -> None:
        """Learn the results of a generation that was finished before."""
        self.study.add_trials([self._lean(one) for one in recorded])

    def _lean(self, recorded: FrozenTrial) -> FrozenTrial:
        """Return a trial with what samplers read: the storage holds the rest, once is enough."""
        lean, trained = copy(recorded), recorded.user_attrs.get("trained")
        read = ("seeds", self.plan.config.study.metric)
        lean.user_attrs = {"trained": {key: trained[key] for key in read}} if trained else {}
        lean.intermediate_values = dict(sorted(recorded.intermediate_values.items())[-1:])
        return lean


class _PointSampler(BaseSampler):
    """A sampler that knows each trial's point from its number."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}


class Grid(_PointSampler):
    """Every combination of the lists once, trial by trial."""

    def __init__(self, points: Sequence[Mapping[str, Any]]) -> None:
        self.points = points

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        return self.points[trial.number][param_name]


class Zoom(_PointSampler):
    """Even levels over the range, then finer ones where the best may lie.

    Adaptive samplers pile up on one spot and leave too little to fit a curve to.
    """

    def __init__(self, axis: Axis, generation_size: int, metric: str) -> None:
        self.axis, self.generation_size, self.metric = axis, generation_size, metric
        self.known: dict[int, list[float]] = {}  # first trial -> levels of its generation

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> float:
        generation, place = divmod(trial.number, self.generation_size)
        first = generation * self.generation_size
        if first not in self.known:
            self.known[first] = self.levels(study, first)
        return self.known[first][place]

    def levels(self, study: Study, first: int) -> list[float]:
        """Return the levels of the generation that begins with trial `first`."""
        size = self.generation_size
        before = study.get_trials(deepcopy=False)[:first]
        before = before[:size] + before[size:][-LAST * size :]  # else the time would grow with all
        done = [trial for trial in before if trial.state == TrialState.COMPLETE]
        if not done:
            return even_levels(float(self.axis.low), float(self.axis.high), size, self.axis.log)
        rows = [_by_seed(trial, self.metric) for trial in done]
        lost = [t.params for t in before if t.state in (TrialState.PRUNED, TrialState.FAIL)]
        return zoomed_levels([trial.params for trial in done], rows, self.axis, size, lost)


def _by_seed(trial: FrozenTrial, metric: str) -> dict[int, float]:
    summary = trial.user_attrs["trained"]
    return dict(zip(summary["seeds"], summary[metric], strict=True))


class Sobol(_PointSampler):
    """The scrambled sequence of Sobol', a point a trial.

    Optuna's QMCSampler draws at random until a trial is finished: in lockstep, all of the first
    generation.
    """

    def __init__(self, keys: Sequence[str], seed: int) -> None:
        self.keys, self.seed = list(keys), seed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        sequence = qmc.Sobol(len(self.keys), rng=self.seed)
        if trial.number:
            sequence.fast_forward(trial.number)
        part = float(sequence.random(1)[0][self.keys.index(param_name)])  # in [0, 1)
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[int(part * len(distribution.choices))]
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        whole = isinstance(distribution, IntDistribution)
        # a whole number stands for all that round to it
        low, high = distribution.low - whole / 2, distribution.high + whole / 2
        if distribution.log:
            value = math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
        else:
            value = low + part * (high - low)
        value = min(max(value, distribution.low), distribution.high)
        return round(value) if whole else value


def sampler_of(plan: Plan, number: int) -> BaseSampler:
    """Make the sampler that proposes trial `number`.

    Optuna's are seeded by the number: after a resume, one seed for all would repeat its first
    suggestions.
    """
    seed = plan.config.sampler.seed
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    match plan.sampler:
        case "grid":
            return Grid(plan.combinations)
        case "zoom":
            return Zoom(plan.axes[0], plan.generation_size, plan.config.study.metric)
        case "tpe":
            return TPESampler(seed=own)
        case "gp":
            return GPSampler(seed=own, deterministic_objective=False)
        case "qmc":
            return Sobol([axis.key for axis in plan.axes], seed)
        case _:
            return RandomSampler(seed=own)
