"""Hydra's flags, which may stand anywhere between the settings."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from sweep.command.hydra_keys import A_MULTIRUN
from sweep.errors import BadInput
from sweep.places import PRIMARY, conf_folders

KNOWN = (
    *("--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i", "--hydra-help", "--version"),
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
)


@dataclass(frozen=True)
class Places:
    """Where config files are looked for."""

    primary: str = PRIMARY  # --config-name
    path: Path | None = None  # --config-path
    added: Path | None = None  # --config-dir

    @property
    def folders(self) -> list[Path]:
        """The folders in the order in which they are looked into: the house's is the last."""
        *own, house = conf_folders()
        places = (self.path, *own, self.added, house)
        return list(dict.fromkeys(place for place in places if place))


@dataclass(frozen=True)
class Typed:
    """A command line taken apart."""

    overrides: tuple[str, ...]
    places: Places
    asked: Namespace  # of Hydra, by its flags

    @property
    def shows(self) -> bool:
        """Whether Hydra is asked to print something rather than to run."""
        return bool(self.asked.cfg or self.asked.info or self.asked.hydra_help)


def read_flags(arguments: Sequence[str]) -> Typed:
    """Tell flags from settings; raise BadInput for a flag that is unknown or lacks its value."""
    for argument in arguments:
        if argument in ("--run", "-r", "--experimental-rerun"):
            raise BadInput(f"{argument}: {A_MULTIRUN}")
        if argument.startswith("-") and argument.partition("=")[0] not in KNOWN:
            raise BadInput(f"{argument}: unknown flag; settings are <key>=<value>, see --help")
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    given = parser.parse_intermixed_args(list(arguments))
    if (given.resolve or given.package) and not given.cfg:
        raise BadInput("--resolve and --package: are for what --cfg shows; give --cfg job too")
    if given.resolve and given.cfg != "job":
        raise BadInput("--resolve: is for --cfg job; of Hydra's keys some have no value before")
    path, added = (
        Path(one).resolve() if one else None for one in (given.config_path, given.config_dir)
    )
    for flag, folder in (("--config-path", path), ("--config-dir", added)):
        if folder and not folder.is_dir():
            raise BadInput(f"{flag}={folder}: is not a folder")
    return Typed(tuple(given.overrides), Places(given.config_name or PRIMARY, path, added), given)


def _refuse(message: str) -> NoReturn:
    raise BadInput(message)
