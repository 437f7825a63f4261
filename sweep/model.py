"""A model's class and config, from the class that its YAML names and the numbers beside it."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from sweep.config import BadInput, check_rate, is_rate
from sweep.mistake import first_line, why
from sweep.space import Axis
from sweep.target import find


def model_class(target: str) -> type[nn.Module]:
    """Import the class that model._target_ names, such as models.mlp.MLP."""
    found = find("model._target_", target)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise BadInput(f"model._target_={target}: must be a subclass of torch.nn.Module")
    return found


def builder(
    model: Mapping[str, Any], dropout: float, input_shape: tuple[int, ...], n_classes: int
) -> Callable[[], nn.Module]:
    """Return a function that builds the plain model of one trial.

    Its config is the dataclass that annotates `__init__(self, config: ...)`, or a plain namespace
    where there is none.
    """
    cls = model_class(str(model.get("_target_")))
    numbers = {key: value for key, value in model.items() if key != "_target_"}
    for key, value in numbers.items():
        if is_rate(key) and isinstance(value, int | float):
            check_rate(f"model.{key}", value)
        if key in ("input_shape", "n_classes"):
            raise BadInput(f"model.{key}={value}: is given by the data")
        if key == "dropout":
            raise BadInput(f"model.dropout={value}: is what is searched; leave it out of the YAML")
    given = {"dropout": dropout, "input_shape": input_shape, "n_classes": n_classes}
    schema = config_class(cls)
    if schema is None:
        config: Any = SimpleNamespace(**numbers, **given)
    else:
        try:
            config = OmegaConf.to_object(OmegaConf.merge(schema, numbers, given))
        except OmegaConfBaseException as error:
            key = error.full_key or ""
            raise BadInput(f"model.{key}={numbers.get(key, '')}: {why(error)}") from None
        except (TypeError, ValueError) as error:
            raise BadInput(f"{describe(model)}: {first_line(error)}") from None
    return lambda: cls(config)


def describe(model: Mapping[str, Any]) -> str:
    return ", ".join(f"model.{key}={value}" for key, value in model.items())


def config_class(cls: type[nn.Module]) -> Any:
    """Return the dataclass that annotates the only argument of the model, or None."""
    parameters = list(inspect.signature(cls.__init__).parameters)[1:]
    try:
        hints = typing.get_type_hints(cls.__init__)
    except NameError:  # of what is imported for type checkers only
        return None
    found = hints.get(parameters[0]) if parameters else None
    return found if dataclasses.is_dataclass(found) else None


def variants(model: Mapping[str, Any], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the model as configured and at each end of each of its searched numbers."""
    return [dict(model)] + [
        {**model, axis.key.removeprefix("model."): end}
        for axis in axes
        if axis.key.startswith("model.")
        for end in axis.ends
    ]


def check_numbers(model: Mapping[str, Any], axes: Sequence[Axis]) -> None:
    """Raise BadInput where the model's own config refuses a number; needs no data."""
    for variant in variants(model, axes):
        builder(variant, 0.5, input_shape=(1, 28, 28), n_classes=10)
