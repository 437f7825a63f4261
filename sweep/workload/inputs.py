"""A model's inputs: one tensor, or a tuple or dict of tensors; the first axis is the samples."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


def map_inputs(function: Callable[[Tensor], Any], inputs: Inputs) -> Any:
    """Apply a function to each tensor of the inputs."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, dict):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return tuple(function(tensor) for tensor in inputs)


def input_tensors(inputs: Inputs) -> dict[str, Tensor]:
    """Return the tensors by name: a dict's keys, a tuple's positions as text, "" for one tensor."""
    if isinstance(inputs, Tensor):
        return {"": inputs}
    if isinstance(inputs, dict):
        return dict(inputs)
    return {str(place): tensor for place, tensor in enumerate(inputs)}


def call_with(model: Callable[..., Any], inputs: Inputs) -> Any:
    """Call a model with a tensor, with a tuple by position, or with a dict by keyword."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, dict) else model(*inputs)


def map_named(function: Callable[[str, Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Apply a function to the name and the tensor of each input."""
    done = {name: function(name, tensor) for name, tensor in input_tensors(inputs).items()}
    if isinstance(inputs, Tensor):
        return done[""]
    return done if isinstance(inputs, dict) else tuple(done.values())


def device_of(inputs: Inputs) -> torch.device:
    return next(iter(input_tensors(inputs).values())).device
