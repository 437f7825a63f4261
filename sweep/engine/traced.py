"""Traces a function of tensors once and then runs its operations without the Python above them.

vmap, autograd and autocast cost milliseconds per call, but for tensors of the same shapes they
always run the same list of torch's operations.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten

from sweep.engine.equal import equal_bits
from sweep.workload.inputs import input_tensors

AS_IT_IS = 16  # untraced calls per shape; tracing costs what about 70 traced calls save
log = logging.getLogger(__name__)
Function = Callable[..., Any]


class Program:
    """A function of members (weights {name: (K, ...)}, buffers, ..., inputs, targets).

    Calls may differ only in the numbers and the shapes of their tensors.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.calls: Counter[Any] = Counter()
        self.traced: dict[Any, Function] = {}

    def __call__(self, weights: Mapping[str, Tensor], *args: Any) -> Any:
        """Call the function, or run its trace for tensors of these shapes."""
        shapes = tuple((name, t.shape) for name, t in input_tensors(args[-2]).items())
        key = len(next(iter(weights.values()))), shapes
        self.calls[key] += 1
        if self.calls[key] > AS_IT_IS and key not in self.traced:
            self.traced[key] = self._trace(weights, *args)
        elif self.calls[key] == AS_IT_IS + 2:  # checked again, on other numbers
            self.traced[key] = self._checked(self.traced[key], weights, *args)
        return self.traced.get(key, self.function)(weights, *args)

    def _trace(self, *args: Any) -> Function:
        """Return the trace of a call, or the function if it cannot be traced."""
        try:  # make_fx takes no methods
            operations = make_fx(lambda *call: self.function(*call))(*_copied(*args))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the tracer: the call itself has succeeded before
            log.warning("not traced: %s: %s", type(error).__name__, str(error).partition("\n")[0])
            return self.function
        return self._checked(torch.no_grad()(operations), *args)

    def _checked(self, traced: Function, *args: Any) -> Function:
        """Return the trace, or the function if the trace gives other numbers."""
        if traced is self.function:
            return traced
        mine, theirs = _copied(*args), _copied(*args)
        if not _same((self.function(*mine), mine[:2]), (traced(*theirs), theirs[:2])):
            log.warning("not traced: the traced step gives other numbers")
            return self.function
        return traced


def _copied(weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], *args: Any) -> Any:
    """Return the arguments of a call with copies of weights and buffers, which it may change."""
    own = ({name: t.clone() for name, t in of.items()} for of in (weights, buffers))
    return *own, *args


def _same(one: Any, other: Any) -> bool:
    """Return whether two results are exactly equal."""
    (mine, shape), (theirs, other_shape) = tree_flatten(one), tree_flatten(other)
    return shape == other_shape and all(map(equal_bits, mine, theirs))
