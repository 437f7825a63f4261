"""Hydra inside a program that is not a command, and which may use Hydra itself."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime
from hydra.types import TaskFunction
from hydra.version import VersionBase

from sweep.places import CONF, PRIMARY


def allow_schemas() -> None:
    """Be silent about the plugins' schemas, which are meant to check conf/hydra/launcher."""
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against")


def multirun(task: TaskFunction, overrides: list[str]) -> Any:
    """Return what the sweeper returns for these overrides, as `hydra.main` would call it."""
    allow_schemas()
    with _put_back(), initialize_config_dir(str(CONF), version_base="1.3", job_name="find"):
        hydra = GlobalHydra.instance().hydra
        assert hydra
        return hydra.multirun(PRIMARY, task, overrides, with_log_configuration=False)


@contextmanager
def _put_back() -> Iterator[None]:
    """Put back what the program had set in Hydra, in Optuna and in Python's root logger."""
    import optuna  # which takes its time, and `sweep.run` does without at first

    theirs, base, job = GlobalHydra.instance(), VersionBase.instance(), JobRuntime.instance()
    hydra, version, name = theirs.hydra, base.getbase(), job.get("name")
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
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        optuna.logging.set_verbosity(verbosity)
