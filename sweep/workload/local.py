"""Classes and functions that only this process has: those of a notebook or a script.

They are kept here, under a name with a hash of their code, so that an edited class is another class
and one that is defined anew while a study runs does not replace the study's.
"""

import re
from typing import Any

from sweep.workload.code import Code, is_importable, read_code

_codes: dict[str, Code] = {}  # path -> code


def target_path(thing: Any) -> str:
    """Return the dotted path of a class or function; one that cannot be imported is kept here."""
    if is_importable(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    code = read_code(thing)
    called = getattr(thing, "__name__", type(thing).__name__)
    name = f"{re.sub(r'[^0-9A-Za-z_]', '', called)}_{code.sha256[:12]}"
    globals()[name] = thing
    path = f"{__name__}.{name}"
    _codes[path] = code
    return path


def is_local(path: str) -> bool:
    return path in _codes


def used_modules(path: str) -> tuple[str, ...]:
    """Return the modules that the code of a path uses, if it is kept here."""
    return _codes[path].modules if path in _codes else ()
