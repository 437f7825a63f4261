"""Compiles a traced step with torch's inductor."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule


class Compiled:
    """A trace compiled for tensors of the shapes of its first call; on a GPU it is one graph."""

    def __init__(self, operations: GraphModule, device: torch.device) -> None:
        if device.type == "cpu":  # where a pool of compilers is of little use, and hears Ctrl-C too
            os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        options: dict[str, str | int | bool | Callable[..., Any]] = {
            "triton.cudagraphs": device.type == "cuda"
        }
        self.run = torch.compile(operations, dynamic=False, options=options)

    @torch.no_grad()
    def __call__(self, *args: Any) -> Any:
        with torch.compiler.set_stance("default"):  # models' own compiled parts run eagerly
            return self.run(*args)
