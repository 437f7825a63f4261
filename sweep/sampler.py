"""Who chooses the next trials: Optuna's samplers, and two of ours.

A trial's point follows from its number and the trials of earlier generations alone, so a resumed
study asks for the same points as one that was never stopped.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sweep.answer import contenders
from sweep.plan import Plan

DECIMALS = 4  # of a rate that zoom asks for: as many as its name shows


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
    """Even levels over the range, then even levels over the contenders of the generation before.

    Adaptive samplers pile up on one spot and leave too little to fit a curve to.
    """

    def __init__(self, generation: int, metric: str) -> None:
        self.generation, self.metric = generation, metric

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> float:
        assert isinstance(distribution, FloatDistribution)
        number, place = divmod(trial.number, self.generation)
        low, high, even = distribution.low, distribution.high, np.linspace
        if number == 0:
            levels = (np.geomspace if distribution.log else even)(low, high, self.generation)
        else:
            low, high = self._window(study, number - 1, low, high)
            levels = low + (high - low) * (np.arange(self.generation) + 0.5) / self.generation
        rate = round(float(levels[spread(self.generation)[place]]), DECIMALS)
        return min(max(rate, distribution.low), distribution.high)

    def _window(
        self, study: Study, generation: int, low: float, high: float
    ) -> tuple[float, float]:
        """Return the range of the contenders of one generation; all of it if none finished."""
        table = {
            trial.params["dropout"]: trial.user_attrs[self.metric]
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.number // self.generation == generation
        }
        if not table:
            return low, high
        first, last = contenders(table)
        step = min(np.diff(sorted(table)), default=high - low)
        if generation > 0:  # its ends are levels, not the ends of the search
            first = first - step if first == min(table) else first
            last = last + step if last == max(table) else last
        return max(low, first), min(high, last)


def spread(n: int) -> list[int]:
    """Return 0 to n - 1 so that each beginning of the list is spread over all of it.

    The order of van der Corput's sequence: a generation cut short still covers its range.
    """
    reversed_bits = [int(f"{i:016b}"[::-1], 2) for i in range(n)]
    return [int(rank) for rank in np.argsort(np.argsort(reversed_bits))]


def sampler(plan: Plan, number: int) -> BaseSampler:
    """Make the sampler that asks for trial `number`.

    Optuna's are seeded by the number: after a resume, one seed for all would repeat its first
    suggestions. QMC counts its points in the study itself and keeps its seed.
    """
    seed = plan.config.sampler.seed
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    match plan.sampler:
        case "grid":
            return Grid(plan.combinations)
        case "zoom":
            return Zoom(plan.generation, plan.config.study.metric)
        case "tpe":
            return TPESampler(seed=own)
        case "gp":
            return GPSampler(seed=own, deterministic_objective=False)
        case "qmc":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return QMCSampler(seed=seed, warn_independent_sampling=False)
        case _:
            return RandomSampler(seed=own)


optuna.logging.set_verbosity(optuna.logging.WARNING)
