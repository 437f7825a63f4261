"""Hydra inside this process: that of a command, or of a program that may use Hydra itself."""

import io
import logging
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.types import RunMode, TaskFunction
from hydra.version import VersionBase, setbase
from omegaconf import DictConfig, open_dict, read_write

from sweep.command.config import job_config, typed_config
from sweep.command.flags import Places
from sweep.command.hydra_keys import check_composed
from sweep.command.notices import notices_silenced
from sweep.errors import BadInput


def multirun(task: TaskFunction, overrides: Sequence[str], places: Places, log: bool) -> Any:
    """Return what the sweeper returns; raise BadInput if a config file sets what it may not.

    log: whether Python's root logger becomes as the config says.
    """
    with _hydra(places) as hydra:
        # before callbacks and loggers are made
        _let_hydra_know(_composed(hydra, places, overrides, RunMode.MULTIRUN))
        return hydra.multirun(places.primary, task, list(overrides), with_log_configuration=log)


def compose(overrides: Sequence[str], places: Places) -> DictConfig:
    """Return the config of one training, Hydra's own node with it."""
    with _hydra(places) as hydra:
        return _composed(hydra, places, overrides, RunMode.RUN)


def shown(asked: Namespace, overrides: Sequence[str], places: Places) -> str:
    """Return what Hydra prints if it is asked for something else than a run."""
    given = list(overrides)
    with _hydra(places) as hydra, redirect_stdout(io.StringIO()) as out:
        typed_config(job_config(_composed(hydra, places, overrides, RunMode.RUN)))
        if asked.hydra_help:  # of Hydra alone, which knows none of the settings
            hydra.hydra_help(places.primary, get_args_parser(), Namespace(overrides=[]))
        elif asked.info:
            hydra.show_info(asked.info, places.primary, given)
        else:
            _show_config(hydra, asked, given, places)
    return out.getvalue()


def _show_config(hydra: Hydra, asked: Namespace, overrides: list[str], places: Places) -> None:
    try:
        with redirect_stderr(io.StringIO()):
            hydra.show_cfg(places.primary, overrides, asked.cfg, asked.package, asked.resolve)
    except SystemExit:
        what = f"is not in what --cfg {asked.cfg} shows, or is null"
        raise BadInput(f"--package={asked.package}: {what}") from None


def _composed(hydra: Hydra, places: Places, overrides: Sequence[str], mode: RunMode) -> DictConfig:
    config = hydra.compose_config(places.primary, list(overrides), mode)
    check_composed(config)
    return config


def _let_hydra_know(config: DictConfig) -> None:
    """Let interpolations such as ${hydra:job.name} find Hydra's node, in this process and in jobs.

    Launchers pickle it, so it has nothing of what was typed: that may hold a password.
    """
    with open_dict(config.hydra), read_write(config.hydra):
        config.hydra.overrides.task = []
        config.hydra.job.override_dirname = ""
    HydraConfig.instance().set_config(config)


@contextmanager
def _hydra(places: Places) -> Iterator[Hydra]:
    with _put_back(), notices_silenced():
        setbase("1.3")
        yield Hydra.create_main_hydra2("run", _search_path(places))


def _search_path(places: Places) -> ConfigSearchPath:
    first, *others = places.folders
    path = create_config_search_path(str(first))
    for folder in others:  # Hydra's own schemas must follow
        path.prepend("command-line", f"file://{folder}", SearchPathQuery("schema"))
    return path


@contextmanager
def _put_back() -> Iterator[None]:
    """Put back what the program had set in Hydra and in Python's root logger."""
    theirs, base, job = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    hydra, version, name = theirs.hydra, base.getbase(), job.get("name")
    composed, root = HydraConfig.instance().cfg, logging.getLogger()
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
