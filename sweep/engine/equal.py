"""Tensors that are equal to the last bit."""

from typing import Any

from torch import Tensor


def equal_bits(one: Any, other: Any) -> bool:
    """Tell whether two tensors hold the same numbers, nan being nan; what is none must be equal."""
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return not isinstance(one, Tensor) and not isinstance(other, Tensor) and bool(one == other)
    same = one.shape == other.shape
    return same and bool(((one == other) | (one.isnan() & other.isnan())).all())
