"""The code of a class or function of a notebook or a script, which has no file of its own.

It is read as bytecode, so that comments and the place where it stands change nothing. What it names
is read too: other classes, functions and values of the notebook; of what it imports, the module is
noted.
"""

import dis
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from types import CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (type(None), bool, int, float, complex, str, bytes)
NO_CODE = {  # of a class: its place, its text, and what Python keeps with it
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "_abc_impl"),
    *("__firstlineno__", "__static_attributes__"),
}
WRAPPED = ("__func__", "__self__", "__wrapped__", "fget", "fset", "func", "args", "keywords")


@dataclass(frozen=True)
class Code:
    sha256: str
    modules: tuple[str, ...]  # that it uses


def read_code(thing: Any) -> Code:
    """Return the code of a class or function, and of all that it uses."""
    reader = _Reader()
    reader.read(thing)
    return Code(reader.digest.hexdigest(), tuple(sorted(reader.modules)))


def is_importable(thing: Any) -> bool:
    """Return whether another process can import a class or function by its name."""
    home = getattr(thing, "__module__", None)
    found: Any = sys.modules.get(home) if home and home != "__main__" else None
    for name in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is thing


class _Reader:
    """Feeds a digest with what it reads, each thing once."""

    def __init__(self) -> None:
        self.digest, self.modules = hashlib.sha256(), set[str]()
        self.seen: dict[int, tuple[int, Any]] = {}  # id -> its number; kept alive by this

    def read(self, value: Any) -> None:
        if isinstance(value, PLAIN):
            self._add(repr(value))
        elif isinstance(value, tuple | CodeType | set | frozenset):  # whether shared tells nothing
            self._read_new(value)
        elif id(value) in self.seen:
            self._add(f"number {self.seen[id(value)][0]}")
        else:
            self.seen[id(value)] = len(self.seen), value
            self._read_new(value)

    def _read_new(self, value: Any) -> None:
        self._add(type(value).__qualname__)
        match value:
            case ModuleType():
                self._note(value.__name__)
            case type() | FunctionType() if is_importable(value):
                self._add(value.__qualname__)
                self._note(value.__module__)
            case type():
                self._read_class(value)
            case FunctionType():
                self._read_function(value)
            case CodeType():
                self._read_bytecode(value)
            case Tensor() | np.ndarray():
                self._read_numbers(value)
            case set() | frozenset():
                self._add(*sorted(map(repr, value)))
            case tuple() | list():
                for item in value:
                    self.read(item)
            case dict():
                for pair in value.items():
                    self.read(pair)
            case _:
                self._read_object(value)

    def _add(self, *texts: str) -> None:
        for text in texts:
            self.digest.update(f"{len(text)} {text}".encode())

    def _note(self, module: str) -> None:
        self._add(module)
        self.modules.add(module)

    def _read_class(self, cls: type) -> None:
        self._add(cls.__name__)
        self.read(cls.__bases__)
        for name, value in sorted(vars(cls).items()):
            if name not in NO_CODE:
                self._add(name)
                self.read(value)

    def _read_function(self, function: FunctionType) -> None:
        self.read(function.__code__)
        self.read((function.__defaults__, function.__kwdefaults__))
        cells = [cell for cell in function.__closure__ or () if cell != type(cell)()]  # not empty
        self.read(tuple(cell.cell_contents for cell in cells))
        hints = function.__annotations__
        self.read(tuple(hints.items()))
        quoted = {hint for hint in hints.values() if isinstance(hint, str)}
        for name in sorted({*_named_globals(function.__code__), *quoted}):
            if name in function.__globals__:
                self._add(name)
                self.read(function.__globals__[name])

    def _read_bytecode(self, code: CodeType) -> None:
        self.digest.update(code.co_code)
        self._add(*code.co_names, *code.co_varnames, *code.co_freevars, code.co_name)
        self.read(code.co_consts)
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                self._note(str(instruction.argval))

    def _read_numbers(self, numbers: Tensor | np.ndarray) -> None:
        self._add(f"{numbers.dtype} {tuple(numbers.shape)}")
        if isinstance(numbers, Tensor):
            flat = numbers.detach().cpu().contiguous().view(-1)
            numbers = flat.view(torch.uint8).numpy()
        self.digest.update(numbers.tobytes())

    def _read_object(self, value: Any) -> None:
        """Read an object's class, and its attributes if it is a notebook's, a model or a record."""
        self.read(type(value))
        self._add(re.sub(r" at 0x\w+", "", repr(value)) if not hasattr(value, "__dict__") else "")
        for name in WRAPPED:
            self.read(getattr(value, name, None))
        known = isinstance(value, nn.Module | SimpleNamespace) or is_dataclass(value)
        if known or not is_importable(type(value)):
            self.read(vars(value) if hasattr(value, "__dict__") else None)


def _named_globals(code: CodeType) -> Iterator[str]:
    """Yield the global names in a function's code and in the functions inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _named_globals(constant)
