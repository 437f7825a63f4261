"""Traces a function of tensors once and then runs its operations without the Python above them.

vmap, autograd and autocast cost milliseconds per call, but for tensors of the same shapes they
always run the same list of torch's operations. That list can be compiled, too.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten

from sweep.engine.bounds import compare_losses, compare_tensors
from sweep.engine.compiled import Compiled
from sweep.engine.equal import equal_bits
from sweep.errors import named_line
from sweep.workload.inputs import input_tensors

# untraced calls per shape, of a step and of an evaluation: tracing costs what 90 traced steps save,
# or 120 evaluations
AS_IT_IS, EVALUATIONS = 16, 64
log = logging.getLogger(__name__)
Function = Callable[..., Any]


class Program:
    """A function of members (weights {name: (K, ...)}, buffers, ..., inputs, targets).

    Calls may differ only in the numbers and the shapes of their tensors. If there is a bound, the
    function is a training step (-> losses, gradients), and its trace is compiled where that keeps
    it within the bound.
    """

    def __init__(
        self, function: Function, bound: float | None = None, as_it_is: int = AS_IT_IS
    ) -> None:
        self.function, self.bound, self.as_it_is = function, bound, as_it_is
        self.calls: Counter[Any] = Counter()
        self.traced: dict[Any, Function] = {}

    @property
    def compiled(self) -> bool:
        """Whether it runs compiled for tensors of some shapes."""
        return any(isinstance(step, Compiled) for step in self.traced.values())

    def __call__(self, weights: Mapping[str, Tensor], *args: Any) -> Any:
        """Call the function, or run its trace for tensors of these shapes."""
        shapes = tuple((name, t.shape) for name, t in input_tensors(args[-2]).items())
        key = len(next(iter(weights.values()))), shapes
        self.calls[key] += 1
        if self.calls[key] > self.as_it_is and key not in self.traced:
            self.traced[key] = self._trace(weights, *args)
        elif self.calls[key] == self.as_it_is + 2:  # checked again, on other numbers
            self.traced[key] = self._compile(
                self._checked(self.traced[key], weights, *args), weights, *args
            )
        return self.traced.get(key, self.function)(weights, *args)

    def _trace(self, *args: Any) -> Function:
        """Return the trace of a call, or the function if it cannot be traced."""
        try:  # make_fx takes no methods
            operations = make_fx(lambda *call: self.function(*call))(*_copied(*args))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the tracer: the call itself has succeeded before
            log.warning("not traced: %s", named_line(error))
            return self.function
        return self._checked(Traced(operations), *args)

    def _checked(self, traced: Function, *args: Any) -> Function:
        """Return the trace, or the function if the trace gives other numbers."""
        if traced is self.function:
            return traced
        mine, theirs = _copied(*args), _copied(*args)
        if not _same((self.function(*mine), mine[:2]), (traced(*theirs), theirs[:2])):
            log.warning("not traced: the traced step gives other numbers")
            return self.function
        return traced

    def _compile(self, traced: Function, *args: Any) -> Function:
        """Return a trace compiled, or as it is if that fails or gives other numbers."""
        if self.bound is None or not isinstance(traced, Traced):
            return traced
        mine, theirs = _copied(*args), _copied(*args)
        try:
            step = Compiled(traced.operations, args[-1].device)
            losses, gradients = step(*mine)
            expected, expected_gradients = traced(*theirs)
            compare_losses("the loss", losses, expected, self.bound)
            compare_tensors("the gradient of", gradients, expected_gradients, 10 * self.bound)
            compare_tensors("the buffer", mine[1], theirs[1], 10 * self.bound)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the compiler, of which there may be none
            log.warning("not compiled: %s", named_line(error))
            return traced
        return step


class Traced:
    """The operations of a function, for tensors of the shapes of one call."""

    def __init__(self, operations: GraphModule) -> None:
        self.operations = operations

    @torch.no_grad()
    def __call__(self, *args: Any) -> Any:
        return self.operations(*args)


def _copied(weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], *args: Any) -> Any:
    """Return the arguments of a call with copies of weights and buffers, which it may change."""
    own = ({name: t.clone() for name, t in of.items()} for of in (weights, buffers))
    return *own, *args


def _same(one: Any, other: Any) -> bool:
    """Return whether two results are exactly equal."""
    (mine, shape), (theirs, other_shape) = tree_flatten(one), tree_flatten(other)
    return shape == other_shape and all(map(equal_bits, mine, theirs))
