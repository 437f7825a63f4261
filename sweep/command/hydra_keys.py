"""Hydra's own keys: which of them may be set, whether typed or in a config file."""

from functools import cache
from typing import Any, NoReturn

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from sweep.command.config import SweeperConfig, differing_keys
from sweep.command.optuna_sweeper import our_key
from sweep.errors import BadInput
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
    sweeper = given["sweeper"].get("_target_")
    if sweeper != SweeperConfig._target_:
        must = f"must be {SweeperConfig._target_}"
        hint = f"begin the defaults list of your config with {PRIMARY}"
        raise BadInput(f"hydra.sweeper._target_={sweeper}: {must}; {hint}")
    for key in differing_keys(ours, given):
        if not f"{key}.".startswith(IN_FILES):
            _refuse(f"hydra.{key}", _at(given, key))
    launcher = str(given["launcher"].get("_target_"))
    if not launcher.startswith(LAUNCHERS):
        raise BadInput(f"hydra.launcher._target_={launcher}: must be a launcher of Hydra's")


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
