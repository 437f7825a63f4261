"""Imports what a `_target_` names, but does not call it; Hydra's policy for configs decides."""

import importlib
import sys
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from sweep.command.notices import notices_silenced
from sweep.errors import BadInput
from sweep.places import HOUSE


def import_target(key: str, name: Any) -> Any:
    """Return the class or function of a dotted name; raise BadInput if it cannot be imported."""
    try:
        _join_models(str(name))
        with notices_silenced():
            target = instantiate({"_target_": str(name), "_partial_": True})
    except InstantiationException as error:
        raise BadInput(f"{key}={name}: {_reason(error)}") from None
    except SystemExit as error:
        raise BadInput(f"{key}={name}: cannot be imported: it exits the program") from error
    assert isinstance(target, partial)
    return target.func


def _join_models(name: str) -> None:
    """Make this project's `models.*` importable even if the user has a `models`, which is first."""
    if str(HOUSE) not in sys.path:
        sys.path.append(str(HOUSE))
    if not name.startswith("models."):
        return
    try:
        path = vars(importlib.import_module("models")).setdefault("__path__", [])
    except Exception:  # an error in the user's file; importing the target reports it
        return
    if str(HOUSE / "models") not in path:
        path.append(str(HOUSE / "models"))


def _reason(error: InstantiationException) -> str:
    text = " ".join(str(error.__cause__ or error).split())
    return f"cannot be imported: {text.removeprefix('Error loading ')}"
