"""Compares the attributes of a model, except parameters and buffers, before and after a forward.

All members of a fused program would share them, so a model that changes them is trained plainly.
"""

import random
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

REGISTERED = {"_parameters", "_buffers", "_modules", "training"}
DEEP = 8  # levels of nested objects that are compared


def forward_attributes(model: nn.Module) -> dict[str, Any]:
    """Return the unregistered attributes of all modules by dotted name, as comparable values."""
    registered = frozenset(map(id, (*model.parameters(), *model.buffers())))
    return {
        f"{path}.{name}".lstrip("."): _frozen(value, registered, DEEP)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in REGISTERED and not (name.startswith("_") and name.endswith("_hooks"))
    }


def changed_attribute(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return the name of the first attribute that differs, or None."""
    missing = object()
    names = (*before, *after)
    return next((n for n in names if before.get(n, missing) != after.get(n, missing)), None)


def _frozen(value: Any, registered: Set[int], depth: int) -> Any:
    def inner(value: Any) -> Any:
        return _frozen(value, registered, depth - 1)

    if isinstance(value, float):
        return value.hex()  # so that nan equals nan
    if value is None or isinstance(value, bool | int | complex | str | bytes):
        return value
    if isinstance(value, nn.Module) or depth == 0 or id(value) in registered:
        return id(value)
    if isinstance(value, Tensor):
        plain = value.detach().to("cpu", copy=True).contiguous()
        words = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        return str(value.dtype), tuple(value.shape), words
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state())
    if isinstance(value, Mapping):
        return tuple((inner(k), inner(v)) for k, v in value.items())
    if isinstance(value, list | tuple | Set):
        return tuple(map(inner, value))
    own = getattr(value, "__dict__", None)
    if own is None or callable(value) or isinstance(value, type):
        return id(value)
    return id(value), inner(dict(own))
