"""What a trial trains, as the engine takes it: a model's builder and its optimiser's numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from sweep.command.config import Config
from sweep.command.rate import built_rate, is_rate
from sweep.command.space import config_section
from sweep.engine.objective import n_outputs
from sweep.engine.optimizer import AdamWSettings
from sweep.workload.data import Data
from sweep.workload.model import model_builder


@dataclass(frozen=True)
class Setting:
    """What one trial trains: a plain model, built anew for each seed, and its AdamW's numbers."""

    build: Callable[[], nn.Module]
    adamw: AdamWSettings


@dataclass(frozen=True)
class Candidates:
    """What the proof trains: the lowest, a middle and the highest rate of a search."""

    settings: Sequence[Setting]
    zero: Setting  # all rates at 0
    at_zero: Setting  # the same with the rates as they are built in its place


def setting_of(
    config: Config, params: Mapping[str, Any], data: Data, zero: bool = False
) -> Setting:
    """Put one trial's numbers into the config and make its plain model's builder.

    Rate 0 is built as a rate that drops nothing, so that the network is the same; or at `zero`.
    """
    if not zero:
        params = {k: built_rate(v) if is_rate(k) else v for k, v in params.items()}
    model = {**config.model, **config_section(params, "model.")}
    train = replace(config.train, **config_section(params, "train."))
    rate, n_classes = float(params["dropout"]), n_outputs(data, config.train)
    build = model_builder(model, rate, data.input_shape, n_classes, data.example)
    return Setting(build, AdamWSettings(train.lr, train.weight_decay))


def candidates_of(config: Config, points: Sequence[Mapping[str, Any]], data: Data) -> Candidates:
    """Return what a proof trains: some points of a search, and the first with all rates at 0."""
    zero = {key: 0.0 if is_rate(key) else value for key, value in points[0].items()}
    return Candidates(
        [setting_of(config, point, data) for point in points],
        setting_of(config, zero, data, zero=True),
        setting_of(config, zero, data),
    )
