"""Hydra inside this process: that of a command, or of a program that may use Hydra itself."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.types import RunMode, TaskFunction
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, open_dict, read_write

from sweep.command.flags import Source
from sweep.command.hydra_keys import check_composed
from sweep.command.notices import silence_notices
from sweep.places import CONF


def multirun(task: TaskFunction, overrides: Sequence[str], source: Source, log: bool) -> Any:
    """Return what the sweeper returns; raise BadInput if a config file sets what it may not.

    log: whether Python's root logger becomes as the config says.
    """
    given = list(overrides)
    with _hydra(source) as hydra:
        config = hydra.compose_config(source.name, given, RunMode.MULTIRUN)
        check_composed(config)  # before callbacks and loggers are made
        _let_hydra_know(config)
        return hydra.multirun(source.name, task, given, with_log_configuration=log)


def _let_hydra_know(config: DictConfig) -> None:
    """Let interpolations such as ${hydra:job.name} find Hydra's node, in this process and in jobs.

    Launchers pickle it, so it has nothing of what was typed: that may hold a password.
    """
    with open_dict(config.hydra), read_write(config.hydra):
        config.hydra.overrides.task = []
        config.hydra.job.override_dirname = ""
    HydraConfig.instance().set_config(config)


def compose(overrides: Sequence[str], source: Source) -> DictConfig:
    """Return the config of one training, Hydra's own node with it."""
    with _hydra(source) as hydra:
        return hydra.compose_config(source.name, list(overrides), RunMode.RUN)


@contextmanager
def _hydra(source: Source) -> Iterator[Hydra]:
    silence_notices()
    setbase("1.3")
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2("run", _search_path(source))
    finally:
        GlobalHydra.instance().clear()


def _search_path(source: Source) -> ConfigSearchPath:
    path = create_config_search_path(str(source.path))
    # the house's last, for what the user's has not; Hydra's own schemas must follow
    for place in (source.before, CONF if source.path != CONF else None):
        if place:
            path.prepend("command-line", f"file://{place}", SearchPathQuery("schema"))
    return path


@contextmanager
def put_back() -> Iterator[None]:
    """Put back what the program had set in Hydra, in Optuna and in Python's root logger."""
    import optuna  # which takes its time, and `sweep.run` does without at first

    theirs, base, job = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    hydra, version, name = theirs.hydra, base.getbase(), job.get("name")
    composed = HydraConfig.instance().cfg
    root, verbosity = logging.getLogger(), optuna.logging.get_verbosity()
    handlers, level = list(root.handlers), root.level
    theirs.clear()
    try:
        yield
    finally:
        theirs.hydra = hydra
        GlobalHydra.set_instance(theirs)
        base.version_base = version
        job.set("name", name)
        HydraConfig.instance().cfg = composed
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        optuna.logging.set_verbosity(verbosity)
