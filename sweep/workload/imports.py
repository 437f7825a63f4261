"""What a `_target_` names: imported as far as Hydra's policy for configs allows, and not called."""

from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from sweep.errors import BadInput


def import_target(key: str, name: Any) -> Any:
    """Return the class or function of a dotted name; raise BadInput if it cannot be imported."""
    try:
        target = instantiate({"_target_": str(name), "_partial_": True})
    except InstantiationException as error:
        raise BadInput(f"{key}={name}: {_reason(error)}") from None
    except SystemExit as error:
        raise BadInput(f"{key}={name}: cannot be imported: it ends the program") from error
    assert isinstance(target, partial)
    return target.func


def _reason(error: InstantiationException) -> str:
    text = " ".join(str(error.__cause__ or error).split())
    return f"cannot be imported: {text.removeprefix('Error loading ')}"
