"""Builds a model from the class that its YAML names and the other keys of that YAML."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.nn.parameter import is_lazy

from sweep.command.hints import refusal_reason
from sweep.command.rate import TINY, check_rate, is_rate
from sweep.command.space import Axis
from sweep.errors import BadInput, first_line, require
from sweep.workload.imports import import_target
from sweep.workload.inputs import Inputs, call_with

GIVEN = ("dropout", "input_shape", "n_classes")  # what a model gets beside its YAML's numbers
NUMBERS = (int, float, str, type(None))


def model_class(target: str) -> type[nn.Module]:
    """Import the class that model._target_ names, such as models.mlp.MLP."""
    require(target != "None", "model._target_", "???", "must be given: the path of a class")
    cls = import_target("model._target_", target)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise BadInput(f"model._target_={target}: must be a subclass of torch.nn.Module")
    return cls


def model_builder(
    model: Mapping[str, Any],
    dropout: float,
    input_shape: Any,
    n_classes: int,
    example: Inputs | None = None,
) -> Callable[[], nn.Module]:
    """Return a function that builds the plain model of one trial.

    The class gets one config object: the dataclass that annotates it in `__init__(self, config)`,
    or a plain namespace. A class with other arguments is called by keyword, as Hydra would.
    """
    cls = model_class(str(model.get("_target_")))
    numbers = {str(key): value for key, value in model.items() if key != "_target_"}
    for key, value in numbers.items():
        if is_rate(key) and isinstance(value, int | float):
            check_rate(f"model.{key}", value)
        if key in ("input_shape", "n_classes"):
            raise BadInput(f"model.{key}={value}: comes from the data; leave it out of the YAML")
        if key == "dropout":
            raise BadInput(f"model.dropout={value}: is searched; leave it out of the YAML")
    given = {"dropout": dropout, "input_shape": input_shape, "n_classes": n_classes}
    schema = config_class(cls)
    if schema is not None:
        config = _config_object(schema, model, numbers, given)
        return lambda: with_lazy_weights(cls(config), example)
    keywords = _keyword_arguments(cls, numbers, given)
    if keywords is None:
        return lambda: with_lazy_weights(cls(SimpleNamespace(**numbers, **given)), example)
    return lambda: with_lazy_weights(cls(**keywords), example)


def _config_object(
    schema: Any, model: Mapping[str, Any], numbers: Mapping[str, Any], given: Mapping[str, Any]
) -> Any:
    """Return the model's config dataclass; it must have dropout, but not all that is given."""
    fields = {field.name for field in dataclasses.fields(schema)}
    if "dropout" not in fields:
        name = schema.__name__
        raise BadInput(f"model._target_={model.get('_target_')}: {name} has no field dropout")
    known = {key: value for key, value in given.items() if key in fields}
    try:
        return OmegaConf.to_object(OmegaConf.merge(schema, numbers, known))
    except OmegaConfBaseException as error:
        key = error.full_key or ""
        raise BadInput(f"model.{key}={numbers.get(key, '')}: {refusal_reason(error)}") from None
    except (TypeError, ValueError) as error:
        raise BadInput(f"{described_model(model)}: {first_line(error)}") from None


def _keyword_arguments(
    cls: type[nn.Module], numbers: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments of a class that is called by keyword, or None if it takes one config."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    required = [p.name for p in named if p.default is p.empty]
    offered = {**numbers, **given}
    if len(required) == 1 and named[0].name == required[0] and required[0] not in offered:
        return None
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        takes = set(offered)
    else:
        takes = {p.name for p in named if p.kind != p.POSITIONAL_ONLY}
    key = f"model._target_={cls.__module__}.{cls.__qualname__}"
    if missing := [name for name in required if name not in offered]:
        raise BadInput(
            f"{key}: needs {', '.join(missing)}, which the YAML does not set; or let it take one "
            "config object with dropout, input_shape, n_classes and the numbers of the YAML"
        )
    if unknown := [name for name in numbers if name not in takes]:
        raise BadInput(f"model.{unknown[0]}={numbers[unknown[0]]}: unknown to {cls.__name__}")
    if not any(is_rate(name) for name in takes & offered.keys()):
        raise BadInput(
            f"{key}: takes no dropout; __init__ must take one config object or an argument dropout"
        )
    return {name: value for name, value in offered.items() if name in takes}


def with_lazy_weights(model: nn.Module, example: Inputs | None) -> nn.Module:
    """Initialise lazy layers by a forward pass on an example, in evaluation mode."""
    if example is not None and any(map(is_lazy, model.parameters())):
        training = model.training
        with torch.no_grad():
            call_with(model.eval(), example)
        model.train(training)
    return model


def described_model(model: Mapping[str, Any]) -> str:
    return ", ".join(f"model.{key}={value}" for key, value in model.items())


def config_class(cls: type[nn.Module]) -> Any:
    """Return the dataclass that annotates the first argument of the model's __init__, or None."""
    parameters = list(inspect.signature(cls.__init__).parameters)[1:]
    try:
        hints = typing.get_type_hints(cls.__init__)
    except NameError:  # of a name that is imported for type checkers only
        return None
    schema = hints.get(parameters[0]) if parameters else None
    return schema if dataclasses.is_dataclass(schema) else None


def own_numbers(cls: type[nn.Module]) -> dict[str, Any]:
    """Return the numbers for which a model has defaults, as its YAML would have them."""
    schema = config_class(cls)
    if schema is not None:
        defaults = {field.name: field.default for field in dataclasses.fields(schema)}
    else:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        defaults = {parameter.name: parameter.default for parameter in parameters}
    return {
        name: default
        for name, default in defaults.items()
        if isinstance(default, NUMBERS) and name not in GIVEN and "${" not in str(default)
    }


def model_variants(model: Mapping[str, Any], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return the model's config, then one for each end of each searched number of the model."""
    return [dict(model)] + [
        {**model, axis.key.removeprefix("model."): end}
        for axis in axes
        if axis.key.startswith("model.")
        for end in axis.ends
    ]


def tried_rates(axes: Sequence[Axis]) -> list[float]:
    """Return up to 8 rates to try a model at: the searched ones, the middle one first, without 0.

    At rate 0 no call would be seen to drop.
    """
    axis = next((axis for axis in axes if axis.key == "dropout"), None)
    if axis is None:
        return [0.5, 0.1]
    values = sorted(axis.values or (*axis.ends, sum(axis.ends) / 2))
    middle = values[len(values) // 2]
    rates = [float(rate) for rate in dict.fromkeys((middle, *values)) if rate > 0]
    return rates[:8] or [TINY]


def check_numbers(model: Mapping[str, Any], axes: Sequence[Axis]) -> None:
    """Raise BadInput if the model's own config rejects a number; needs no data."""
    for variant in model_variants(model, axes):
        first: BadInput | None = None
        for rate in tried_rates(axes):
            try:
                model_builder(variant, rate, input_shape=(1, 28, 28), n_classes=10)
                break
            except BadInput as error:
                first = first or error
        else:
            assert first
            raise first
