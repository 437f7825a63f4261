"""The sources of a study: the user's own files that its model and data are written in.

Followed are the imports that stand in the files; nothing is imported for it. Of libraries the
version is noted, of Python and of this project nothing.
"""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path

from sweep.study.fingerprint import PACKAGES
from sweep.workload.imports import import_target
from sweep.workload.local import used_modules

NOT_OURS = {
    "sweep",
    "__main__",
    *PACKAGES,
}  # recorded elsewhere, or without a file
LIBRARIES = {"site-packages", "dist-packages", "lib-dynload"}
PYTHON = Path(sysconfig.get_path("stdlib"))


def study_sources(targets: Iterable[str]) -> dict[str, str]:
    """Return {file: sha256} of what classes and functions need, and {library: version}."""
    own: dict[str, Path] = {}
    others: set[str] = set()
    left = [name for target in targets for name in _target_modules(target)]
    while left:
        name = left.pop()
        if name in own or name in others or _top_package(name) in NOT_OURS:
            continue
        file = _module_file(name)
        if file is not None and _is_own(file):
            own[name] = file
            left += _imported_modules(name, file)
        else:
            others.add(name)
    files = {_shown_path(name, file): _sha256(file) for name, file in own.items()}
    return files | _library_versions(set(map(_top_package, others)) - set(map(_top_package, own)))


def changed_sources(begun: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what became of each source that is not as it was."""
    found = []
    for key in sorted(begun.keys() | now.keys()):
        if begun.get(key) != now.get(key):
            what = "is new" if key not in begun else "is gone" if key not in now else "has changed"
            found.append(f"{key} {what}")
    return found


def _target_modules(target: str) -> list[str]:
    """Return the modules on the way to a dotted name, to its definition and to what it uses."""
    home = getattr(import_target("_target_", target), "__module__", None)
    places = (target, str(home or ""), *used_modules(target))
    return [name for place in places for name in _package_chain(place)]


def _package_chain(name: str) -> list[str]:
    """Return a, a.b and a.b.c of a.b.c: all of them run when it is imported."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _top_package(name: str) -> str:
    return name.partition(".")[0]


def _module_file(name: str) -> Path | None:
    """Return the file of a module; a folder without __init__.py has none."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded:
        return Path(loaded)
    places = [Path(folder, *name.split(".")) for folder in sys.path]
    files = [file for place in places for file in (place / "__init__.py", Path(f"{place}.py"))]
    return next((file for file in files if file.is_file()), None)


def _is_own(file: Path) -> bool:
    return not file.is_relative_to(PYTHON) and not LIBRARIES & set(file.parts)


def _imported_modules(name: str, file: Path) -> Iterator[str]:
    """Yield the modules that a file may import, wherever in it."""
    package = name if file.stem == "__init__" else name.rpartition(".")[0]
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # of what is compiled
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _package_chain(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level <= len(_package_chain(package)):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from _package_chain(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _shown_path(name: str, file: Path) -> str:
    """Return a module's file from the folder on in which Python looks for it."""
    depth = len(name.split(".")) + (file.stem == "__init__")
    return "/".join(file.parts[-depth:])


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _library_versions(packages: set[str]) -> dict[str, str]:
    """Return the versions of the libraries that packages come from, without their builds."""
    packages = packages - sys.stdlib_module_names
    known = packages_distributions() if packages else {}  # which reads them all: a moment
    names = {name for package in packages for name in known.get(package, ())}
    return {name: version(name).partition("+")[0] for name in names}
