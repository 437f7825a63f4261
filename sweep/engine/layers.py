"""Layers that compute what torch's do, but faster under vmap.

Only their vmap rule is different: autograd sees torch's own operations.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

Dims = tuple[int | None, ...]


def lower_layers(skeleton: nn.Module) -> None:
    """Give the linear layers of a model that runs under vmap the rule below, in place."""
    for module in skeleton.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def lay_out(model: nn.Module, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Store the stacked weights (K, out, in) of linear layers transposed in memory.

    Values and shapes stay. The gradient of a batched product has the same memory layout, so the
    optimiser need not transpose it.
    """
    linear = {f"{path}.weight" for path, m in model.named_modules() if isinstance(m, nn.Linear)}
    return {
        name: param.mT.contiguous().mT if name in linear else param.contiguous()
        for name, param in params.items()
    }


class Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return _Linear.apply(x, self.weight, self.bias)


class UnderVmap(torch.autograd.Function):
    """A function that is only called under vmap, so it has nothing but a vmap rule."""

    @staticmethod
    def forward(*args: Any) -> Tensor:
        raise AssertionError("called outside vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass


class _Linear(UnderVmap):
    """One batched product for all members with the bias, which vmap would add separately."""

    @staticmethod
    def vmap(
        info: Any, dims: Dims, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        x = members_first(x, dims[0], info.batch_size)
        rows = x.reshape(len(x), -1, x.shape[-1])  # (K, samples, fan_in)
        across = members_first(weight, dims[1], info.batch_size).mT  # (K, fan_in, fan_out)
        if bias is None:
            y = torch.bmm(rows, across)
        else:
            bias = members_first(bias, dims[2], info.batch_size)
            y = torch.baddbmm(bias[:, None], rows, across)
        return y.view(*x.shape[:-1], -1), 0


def members_first(x: Tensor, dim: int | None, n_members: int) -> Tensor:
    return x.expand(n_members, *x.shape) if dim is None else x.movedim(dim, 0)
