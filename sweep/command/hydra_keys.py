"""Hydra's own keys: which of them may be set, whether typed or in a config file."""

from functools import cache
from importlib import import_module
from typing import Any, NoReturn

from hydra.conf import HydraConf
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweep.command.config import SweeperConfig, differing_keys
from sweep.command.optuna_sweeper import our_key
from sweep.errors import BadInput, first_line, named_line, require
from sweep.places import CONF, PRIMARY

SETTABLE = (
    "hydra/launcher",
    "hydra.launcher.",
    "hydra.sweep.dir",
    "hydra.searchpath",
    "hydra.verbose",
)
IN_FILES = (  # what a config file may set, what has no effect, and what Hydra sets itself
    *("launcher.", "sweep.dir", "searchpath", "verbose", "sweeper.params", "sweeper.several"),
    *("defaults.", "env.", "run.", "help.", "hydra_help.", "runtime.", "overrides."),
    *("job.name", "job.override_dirname", "job.id", "job.num", "job.config_name"),
)
A_MULTIRUN = "a study is a multirun; leave it out"
LAUNCHERS = ("hydra_plugins.", "hydra._internal.core_plugins.")  # where Hydra looks for them


def check_typed(key: str, argument: str) -> None:
    """Raise BadInput for keys of Hydra that would have no effect here, or an unexpected one."""
    if ours := our_key(key):
        raise BadInput(f"{key}: is for sweepers such as hydra-optuna-sweeper; here it is {ours}")
    mode = argument.partition("=")[2].strip("'\"").upper() if key == "hydra.mode" else ""
    if mode == "RUN":
        raise BadInput(f"{argument}: {A_MULTIRUN}")
    if not (mode == "MULTIRUN" or key.startswith(SETTABLE)) or key.endswith("_target_"):
        raise BadInput(f"{argument}: of Hydra's own keys only {', '.join(SETTABLE)} may be set")


def check_composed(config: DictConfig) -> None:
    """Raise BadInput if config files set what a command line may not."""
    given, ours = _plain(config.hydra), _own_node()
    sweeper = _at(given, "sweeper._target_")
    if sweeper != SweeperConfig._target_:
        must = f"must be {SweeperConfig._target_}"
        hint = f"begin the defaults list of your config with {PRIMARY}"
        raise BadInput(f"hydra.sweeper._target_={sweeper}: {must}; {hint}")
    for group in ("hydra_logging", "job_logging"):
        if (choice := given["runtime"]["choices"].get(f"hydra/{group}")) != "quiet":
            _refuse(f"hydra/{group}", choice)
    for key in differing_keys(ours, given):
        if not f"{key}.".startswith(IN_FILES):
            _refuse(f"hydra.{key}", _at(given, key))
    for key, written in given["sweeper"]["params"].items():
        _check_search(config, key, written)
    _check_verbose(given["verbose"])
    _check_launcher(_at(given, "launcher._target_"))


def _check_search(config: DictConfig, key: str, written: Any) -> None:
    name = f"hydra.sweeper.params.{key}"
    try:
        value = config.hydra.sweeper.params[key]
    except OmegaConfBaseException as error:
        raise BadInput(f"{name}={written}: {first_line(error)}") from None
    ok = isinstance(value, str | int | float) and not isinstance(value, bool)
    require(ok, name, written, "must be as one would type it, such as 0.0,0.2 or interval(0, 0.5)")


def _check_verbose(verbose: Any) -> None:
    names = verbose if isinstance(verbose, list) else [verbose]
    ok = isinstance(verbose, bool) or all(isinstance(name, str) for name in names)
    require(ok, "hydra.verbose", verbose, "must be true, false, or the names of loggers")


@cache
def _check_launcher(target: Any) -> None:
    key, allowed = "hydra.launcher._target_", "must be a launcher of Hydra's"
    require(str(target).startswith(LAUNCHERS), key, target, allowed)
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # of any kind: it is the plugin's own code
        raise BadInput(f"{key}={target}: cannot be imported ({named_line(error)})") from None
    require(isinstance(found, type) and issubclass(found, Launcher), key, target, allowed)


def _refuse(key: str, value: Any) -> NoReturn:
    if key == "hydra.mode":
        raise BadInput(f"{key}={getattr(value, 'name', value)}: {A_MULTIRUN}")
    raise BadInput(
        f"{key}={value}: of Hydra's own keys a config file may set only hydra/launcher, "
        "hydra.launcher, hydra.sweep.dir, hydra.sweeper.params, hydra.searchpath and hydra.verbose"
    )


def _at(node: Any, key: str) -> Any:
    """Return the value at a dotted key as it is written, interpolations too."""
    for name in key.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


@cache  # of all studies of a command
def _own_node() -> dict[str, Any]:
    """Return the hydra node as this project's own files make it."""
    logging = {
        group: OmegaConf.load(CONF / "hydra" / group / "quiet.yaml")
        for group in ("hydra_logging", "job_logging")
    }
    files = OmegaConf.load(CONF / f"{PRIMARY}.yaml").hydra
    sweeper = {"sweeper": OmegaConf.structured(SweeperConfig)}
    return _plain(OmegaConf.merge(OmegaConf.structured(HydraConf), sweeper, files, logging))


def _plain(node: Any) -> dict[str, Any]:
    return OmegaConf.to_container(node, resolve=False)  # type: ignore[return-value]
