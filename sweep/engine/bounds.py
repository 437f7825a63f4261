"""Compares tensors within a bound, which stands for rounding."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sweep.command.config import TrainConfig
from sweep.errors import Differs

# by the lowest dtype used: relative to a loss, or to the norm of all tensors compared
BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
Tensors = Mapping[str, Tensor | None]


def compare_losses(name: str, mine: Tensor, plain: Tensor, bound: float) -> None:
    """Raise Differs if losses (or one loss) differ by more than a relative bound."""
    one, other = mine.double(), plain.double()
    lost = ~one.isfinite() & ~other.isfinite()  # both diverged
    near = (one - other).abs() <= bound * (1 + other.abs())
    if not (near | lost).all():
        worst = (one - other).abs().max().item()
        raise Differs(f"{name} would differ by {worst:.1e}")


def compare_tensors(what: str, mine: Tensors, plain: Tensors, bound: float) -> None:
    """Raise Differs with a tensor's name if it differs by more than a bound.

    The distance is relative to the norm of all tensors together: one that is nothing but rounding
    errors, such as the gradient of a bias before a normalisation, has no scale.
    """
    whole = math.hypot(*(_norm(tensor) for tensor in plain.values())) + 1e-12
    for name, theirs in plain.items():
        apart = _distance(mine.get(name), theirs) / whole
        if not apart <= bound:
            raise Differs(f"{what} {name} would differ by {apart:.1e}")


def _norm(tensor: Tensor | None) -> float:
    """Return the norm of a tensor's finite elements; None is 0."""
    return 0.0 if tensor is None else _wide(tensor).nan_to_num(0.0, 0.0, 0.0).norm().item()


def _wide(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double()


def _distance(mine: Tensor | None, plain: Tensor | None) -> float:
    """Return the norm of a difference; None is zero, and nan equals nan."""
    if mine is None or plain is None:
        return _norm(plain if mine is None else mine)
    one, other = _wide(mine), _wide(plain)
    equal = (one == other) | (one.isnan() & other.isnan())
    return torch.where(equal, 0.0, one - other).norm().item()


def bound_of(config: TrainConfig, dtype: torch.dtype) -> float:
    """Return the bound for the lowest precision of a training."""
    if config.precision == "bf16":
        return BOUNDS[torch.bfloat16]
    return BOUNDS[torch.float32 if dtype == torch.float64 else dtype]
