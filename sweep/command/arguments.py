"""Checks the command line for mistakes that Hydra would explain in many lines, or not at all."""

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from sweep.command.flags import Typed, read_flags
from sweep.command.hydra_keys import check_typed
from sweep.errors import BadInput, first_line

EXTRAS = {  # launcher -> the extra in pyproject.toml that installs it
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "ray": "ray",
}
NO_NAME = (int, float, list, type(None), RangeSweep)


def read_command(arguments: Sequence[str]) -> Typed:
    """Return a command line whose settings were checked one by one; BadInput is a mistake."""
    typed = read_flags(arguments)
    typed = replace(typed, overrides=with_home(typed.overrides))
    check_arguments(typed.overrides, typed.places.folders)
    return typed


def with_home(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return arguments with ~ at the head of a value as the home folder; shells leave it there."""
    found = (re.fullmatch(r"([^=]+=)(~(/[^'\"]*)?)", argument) for argument in arguments)
    return tuple(
        f"{match[1]}'{hydra_quoted(os.path.expanduser(match[2]))}'" if match else argument
        for match, argument in zip(found, arguments, strict=True)
    )


def hydra_quoted(path: str) -> str:
    """Put a path into Hydra's quotes, in which only a backslash before a quote must be doubled."""
    return re.sub(r"(\\+)(?='|$)", r"\1\1", path).replace("'", "\\'")


def check_arguments(arguments: Sequence[str], folders: Sequence[Path]) -> None:
    """Raise BadInput for the first argument that is a mistake; config groups are in folders."""
    seen: set[str] = set()
    for argument in arguments:
        if not argument.strip():
            raise BadInput(f"{argument!r}: must be <key>=<value>")
        if "=" not in argument and argument[:1] != "~":
            raise BadInput(f"{argument}: must be <key>=<value>")
        override = parse_override(argument)
        key = str(override.key_or_group)
        if key.startswith("hydra"):
            check_typed(key, argument)
            if key == "hydra/launcher":
                if override.value() is None:
                    raise BadInput(f"{argument}: must be the name of a launcher")
                check_installed(str(override.value()))
            continue
        _check_key(key, override, argument, any((folder / key).is_dir() for folder in folders))
        if key in seen:
            raise BadInput(f"{argument}: {key} is given twice")
        seen.add(key)


def _check_key(key: str, override: Override, argument: str, is_group: bool) -> None:
    if override.is_delete() or (_adds(override) and not is_group):
        raise BadInput(f"{argument}: keys cannot be added or removed{_where_groups_are(argument)}")
    if key == "work":
        raise BadInput(f"{argument}: is set by the study; leave it out")
    if key == "model.dropout":
        raise BadInput(f"{argument}: use dropout=, which every model reads")
    if isinstance(override.value(), dict) and "." not in key:
        raise BadInput(f"{key}: set its keys one by one, such as {key}.<key>=<value>")
    if is_group and any(isinstance(v, NO_NAME) for v in _given_values(override)):
        raise BadInput(f"{argument}: must be the name of a file in conf/{key}")


def _adds(override: Override) -> bool:
    return override.is_add() or override.is_force_add()


def _where_groups_are(argument: str) -> str:
    """Return where config files are looked for, if an argument may mean one, such as +a=b."""
    name = argument.lstrip("+").partition("=")[0]
    if "." in name or not argument.startswith("+"):
        return ""
    return f"; a file {name}/*.yaml would be looked for in ./conf, or in the folder after -cd"


def check_installed(name: str) -> None:
    """Raise BadInput for a launcher whose plugin is missing."""
    extra = EXTRAS.get(name)
    if extra and not importlib.util.find_spec(f"hydra_plugins.hydra_{extra}_launcher"):
        raise BadInput(f"hydra/launcher={name}: is not installed; try uv run --extra {extra}")


def is_sweep(argument: str) -> bool:
    return parse_override(argument).is_sweep_override()


def _given_values(override: Override) -> Sequence[object]:
    """Return the given values: those of a list, or the single one."""
    value = override.value()
    return value.list if isinstance(value, ChoiceSweep) else [value]


def parse_override(argument: str) -> Override:
    try:
        if not argument.partition("=")[0]:
            raise BadInput(f"{argument}: must be <key>=<value>")
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        inside = re.search(r"\(.*\$\{", argument)
        hint = "; no ${...} may stand between parentheses" if inside else ""
        raise BadInput(f"{argument}: not Hydra's syntax ({first_line(error)}){hint}") from None
