"""Proposes the next trials: with Optuna's samplers, and three of ours.

A trial's point follows from its number and the trials of earlier generations alone, so a resumed
study asks for the same points as one that was never stopped.
"""

import math
from collections.abc import Mapping, Sequence
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

from sweep.answer.variance import contenders
from sweep.command.plan import Plan

DECIMALS = 4  # of a rate that zoom asks for: as many as its name shows


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
        asked = {}
        for number in numbers:
            self.study.sampler = sampler_of(self.plan, number)
            asked[number] = self.study.ask(self.space)
        return asked

    def observe(self, trial: Trial, recorded: FrozenTrial) -> None:
        """Learn the result of a trial that was proposed."""
        for epoch, value in recorded.intermediate_values.items():
            trial.report(value, epoch)
        for key, attribute in recorded.user_attrs.items():
            trial.set_user_attr(key, attribute)
        complete = recorded.state == TrialState.COMPLETE
        self.study.tell(trial, recorded.value if complete else None, state=recorded.state)

    def replay(self, recorded: Sequence[FrozenTrial]) -> None:
        """Learn the results of a generation that was finished before."""
        self.study.add_trials(recorded)


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
    """Even levels over the range, then even levels over those still in contention.

    Adaptive samplers pile up on one spot and leave too little to fit a curve to.
    """

    def __init__(self, generation_size: int, metric: str) -> None:
        self.generation_size, self.metric = generation_size, metric

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> float:
        assert isinstance(distribution, FloatDistribution)
        number, place = divmod(trial.number, self.generation_size)
        low, high = distribution.low, distribution.high
        table, pruned = self._generation(study, number - 1)
        if table:
            first = number == 1
            levels = zoomed_levels(table, low, high, self.generation_size, first, pruned)
        else:
            levels = even_levels(low, high, self.generation_size, distribution.log)
        return levels[van_der_corput_order(self.generation_size)[place]]

    def _generation(
        self, study: Study, number: int
    ) -> tuple[dict[float, dict[int, float]], list[float]]:
        """Return {rate: {seed: metric}} of a generation's finished trials, and the rates pruned."""
        table, pruned = {}, []
        for trial in study.get_trials(deepcopy=False):
            if trial.number // self.generation_size == number:
                if trial.state == TrialState.COMPLETE:
                    attrs = trial.user_attrs["trained"]
                    table[trial.params["dropout"]] = dict(
                        zip(attrs["seeds"], attrs[self.metric], strict=True)
                    )
                elif trial.state == TrialState.PRUNED:
                    pruned.append(trial.params["dropout"])
        return table, pruned


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


def even_levels(low: float, high: float, n: int, log: bool = False) -> list[float]:
    """Return n rates from low to high, both among them."""
    return _rounded_rates((np.geomspace if log else np.linspace)(low, high, n), low, high)


def zoomed_levels(
    table: Mapping[float, Mapping[int, float]],
    low: float,
    high: float,
    n: int,
    first: bool,
    pruned: Sequence[float] = (),
) -> list[float]:
    """Return n rates inside the contenders of the generation before, {rate: {seed: metric}}."""
    left, right = contenders(table, pruned)
    if not first:  # its ends are levels inside the search, not its bounds
        tried = sorted({*table, *pruned})
        step = min(np.diff(tried), default=high - low)
        left = left - step if left == tried[0] else left
        right = right + step if right == tried[-1] else right
    left, right = max(low, left), min(high, right)
    return _rounded_rates(left + (right - left) * (np.arange(n) + 0.5) / n, low, high)


def _rounded_rates(levels: np.ndarray, low: float, high: float) -> list[float]:
    return [min(max(rate, low), high) for rate in levels.round(DECIMALS).tolist()]


def van_der_corput_order(n: int) -> list[int]:
    """Return 0 to n - 1 in the order of van der Corput's sequence.

    Any beginning of it is spread over the whole: a generation cut short still covers its range.
    """
    places = qmc.Halton(1, scramble=False).random(n)[:, 0]
    return [int(rank) for rank in np.argsort(np.argsort(places))]


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
            return Zoom(plan.generation_size, plan.config.study.metric)
        case "tpe":
            return TPESampler(seed=own)
        case "gp":
            return GPSampler(seed=own, deterministic_objective=False)
        case "qmc":
            return Sobol([axis.key for axis in plan.axes], seed)
        case _:
            return RandomSampler(seed=own)
