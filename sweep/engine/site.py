"""Every call of torch that draws is a site: intercepted, and numbered in the order of calls.

A function mode sees torch's functions by whatever name they were imported. What it cannot see
(numpy, Python's random, TorchScript, raw operators) is left to sweep/workload/generators.py.
"""

import functools
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sweep.command.rate import NOTHING
from sweep.engine.noise import Noise
from sweep.engine.rules import RULES

NOT_USERS = tuple(str(Path(file).parent) for file in (torch.__file__, __file__))


@dataclass(frozen=True)
class Call:
    """A call that drops."""

    function: str
    rate: float
    where: str  # the line of the user's code, or of the library's, that led to it

    def __str__(self) -> str:
        return (
            f"{self.function} at rate {0 if self.rate <= NOTHING else self.rate:g} ({self.where})"
        )


class Source(Protocol):
    """Says whether a site drops, and gives it its random numbers."""

    def drops(self, site: int, rate: float) -> bool: ...

    def drop(self, site: int, x: Tensor, rate: float) -> Tensor:
        """Return x with elements zeroed by the noise and the rest scaled."""
        ...

    def kept(
        self, site: int, rate: float, shape: torch.Size, like: Tensor
    ) -> tuple[Tensor, Tensor | float]:
        """Return the mask (1: kept, 0: dropped) in the dtype of `like`, and the rate."""
        ...

    def uniform(self, site: int, shape: torch.Size) -> Tensor: ...

    def fill(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Write numbers into x and return it."""
        ...


class Alone:
    """The source of one member, with the rates of its calls."""

    def __init__(self, noise: Noise, force: float | None = None) -> None:
        self.noise, self.force = noise, force  # replaces all rates, to find other effects

    def drops(self, site: int, rate: float) -> bool:
        return (self.force or rate) > NOTHING

    def drop(self, site: int, x: Tensor, rate: float) -> Tensor:
        mask, rate = self.kept(site, rate, x.shape, x)
        return x * (mask.div_(1 - rate) if rate < 1 else mask)

    def kept(self, site: int, rate: float, shape: torch.Size, like: Tensor) -> tuple[Tensor, float]:
        rate = self.force or rate
        out = like.new_empty(shape) if shape != like.shape else torch.empty_like(like)
        return torch.lt(self.noise(site, shape)[0], 1 - rate, out=out), rate

    def uniform(self, site: int, shape: torch.Size) -> Tensor:
        return self.noise(site, shape)[0]

    def fill(self, x: Tensor, numbers: Tensor) -> Tensor:
        return x.copy_(numbers)


class _Running(threading.local):
    sites: "Sites | None" = None  # whose mode is active in this thread


running = _Running()


class Sites(TorchFunctionMode):
    """A context in which the calls of one forward pass take their numbers from a source."""

    def __init__(self, source: Source, noting: bool = False, dropping: bool = True) -> None:
        super().__init__()
        self.source, self.noting, self.dropping = source, noting, dropping
        self.count = 0  # sites so far
        self.rates: dict[int, float] = {}  # of the dropout sites
        self.calls: list[Call] = []  # the same with their lines, if `noting`
        self.outer: list[Sites | None] = []
        self.seed = torch.default_generator.initial_seed()

    def begin(self) -> Self:
        """Begin a forward pass."""
        self.seed = torch.default_generator.initial_seed()
        self.count = 0
        self.rates.clear()
        self.calls.clear()
        return self

    @property
    def drawn(self) -> int:
        """The number of sites that draw; a dropout site of rate 0 does not."""
        return self.count - sum(rate <= NOTHING for rate in self.rates.values())

    @property
    def seeded_by_model(self) -> bool:
        """Whether forward has called torch.manual_seed, to draw the same numbers each time."""
        return torch.default_generator.initial_seed() != self.seed

    def next(self) -> int:
        """Return the number of the next site."""
        self.count += 1
        return self.count - 1

    def next_drop(self, function: str, rate: float) -> int | None:
        """Return the number of the next dropout site, or None if it drops nothing."""
        if not 0 <= rate <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {rate}")
        if not self.dropping:
            return None
        site = self.next()
        self.rates[site] = rate
        if self.noting:
            self.calls.append(Call(function, rate, calling_line()))
        return site if self.source.drops(site, rate) else None

    def __enter__(self) -> Self:
        self.outer.append(running.sites)
        running.sites = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        running.sites = self.outer.pop()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = RULES.get(func)
        if rule is not None:
            return rule(self, func, *args, **(kwargs or {}))
        if type(func) is types.FunctionType and (inner := _opened(func)):
            with self:
                return inner(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def calling_line() -> str:
    """Return the line of the innermost running code that is neither torch's nor ours."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(NOT_USERS):
        frame = frame.f_back
    return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def short_path(file: str) -> str:
    """Return a file's path relative to the working directory or to sys.path."""
    path = Path(file)
    for folder in (Path.cwd(), *map(Path, sys.path)):
        if folder.parts and path.is_relative_to(folder):
            return str(path.relative_to(folder))
    return file


# ---- torch's own Python functions, which hide their calls: multi_head_attention_forward and others


@functools.cache
def _opened(function: types.FunctionType) -> Callable[..., Any] | None:
    """Return torch's function without dispatch to the mode, if it calls a function with a rule."""
    if not _reaches(function, set()):
        return None
    no = dict.fromkeys(
        ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"),
        lambda *args: False,
    )
    inner = types.FunctionType(
        function.__code__,
        {**function.__globals__, **no},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    inner.__kwdefaults__ = function.__kwdefaults__
    return inner


def _reaches(function: types.FunctionType, seen: set[Any]) -> bool:
    """Return whether torch's function, or one that it calls, calls a function with a rule."""
    seen.add(function)
    if not function.__module__.startswith("torch"):
        return False
    names = function.__code__.co_names
    called = (function.__globals__.get(name) for name in names)
    return bool(NAMES & set(names)) or any(
        isinstance(inner, types.FunctionType) and inner not in seen and _reaches(inner, seen)
        for inner in called
    )


NAMES = {rule.__name__ for rule in RULES}
