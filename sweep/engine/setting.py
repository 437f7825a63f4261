"""What the engine needs of a trial: a function that builds its model, and optimiser numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from sweep.command.config import Config
from sweep.command.rate import built_rate, is_rate
from sweep.command.space import config_section
from sweep.engine.objective import n_outputs
from sweep.engine.optimizer import OptimizerNumbers
from sweep.workload.data import Data
from sweep.workload.model import model_builder


@dataclass(frozen=True)
class Setting:
    """What one trial trains: a plain model, built for each seed, and its optimiser's numbers."""

    build: Callable[[], nn.Module]
    numbers: OptimizerNumbers


@dataclass(frozen=True)
class Candidates:
    """What the proof trains: rate 0, half the highest and the highest rate of a search."""

    settings: Sequence[Setting]
    zero: Setting  # all rates 0, built as 0
    at_zero: Setting  # all rates 0, built as TINY


def setting_of(
    config: Config, params: Mapping[str, Any], data: Data, zero: bool = False
) -> Setting:
    """Return one trial's setting, from the config with the trial's numbers.

    Rate 0 is built as TINY, which drops nothing, so that the network is the same; if `zero`, as 0.
    """
    if not zero:
        params = {k: built_rate(v) if is_rate(k) else v for k, v in params.items()}
    model = {**config.model, **config_section(params, "model.")}
    train = replace(config.train, **config_section(params, "train."))
    rate, n_classes = float(params["dropout"]), n_outputs(data, config.train)
    build = model_builder(model, rate, data.input_shape, n_classes, data.example)
    return Setting(build, OptimizerNumbers(train.lr, train.weight_decay))


def candidates_of(config: Config, points: Sequence[Mapping[str, Any]], data: Data) -> Candidates:
    """Return what a proof trains: some points of a search, and the first with all rates 0."""
    zero = {key: 0.0 if is_rate(key) else value for key, value in points[0].items()}
    return Candidates(
        [setting_of(config, point, data) for point in points],
        setting_of(config, zero, data, zero=True),
        setting_of(config, zero, data),
    )
