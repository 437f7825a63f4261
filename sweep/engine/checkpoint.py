"""Makes torch's checkpoint recompute in the backward pass with the random numbers of the forward.

No function mode is active in the backward pass, so the checkpointed function activates it again.
"""

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from torch.utils import checkpoint as module

from sweep.engine.site import running


def _followed(checkpoint: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(checkpoint)
    def follow(function: Any = None, *args: Any, **kwargs: Any) -> Any:
        sites = running.sites
        if sites is None or function is None:
            return checkpoint(function, *args, **kwargs)
        first = sites.count

        def resume(*inputs: Any, **more: Any) -> Any:
            if running.sites is sites:
                return function(*inputs, **more)
            after, sites.count = sites.count, first
            try:
                with sites:
                    return function(*inputs, **more)
            finally:
                sites.count = after

        return checkpoint(resume, *args, **kwargs)

    return follow


def follow_checkpoints() -> None:
    """Replace torch's checkpoint in all loaded modules, by whatever name they imported it."""
    if hasattr(module.checkpoint, "follows"):
        return
    real = module.checkpoint
    followed = _followed(real)
    followed.follows = True  # type: ignore[attr-defined]
    for other in list(sys.modules.values()):
        for name, value in list(vars(other).items()) if isinstance(other, types.ModuleType) else ():
            if value is real:
                setattr(other, name, followed)
