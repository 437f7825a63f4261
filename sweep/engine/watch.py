"""Sees what torch's operations make while a model runs."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the tensors that are made, their numbers and bytes, and multiplications.

    `convolved` are the multiplications in convolutions but those of a patch embedding (no
    overlapping windows), which is a matrix product. `from_double` are the dtypes of what is made
    of double precision.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors = self.numbers = self.bytes = 0
        self.largest = 1  # in bytes
        self.products = self.convolved = 0
        self.from_double = {torch.float64}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)]
        for tensor in tensors:
            n_bytes = tensor.numel() * tensor.element_size()  # a sparse tensor has no nbytes
            self.tensors += 1
            self.numbers += tensor.numel()
            self.bytes += n_bytes
            self.largest = max(self.largest, n_bytes)
        if any(isinstance(arg, Tensor) and arg.dtype == torch.float64 for arg in args):
            self.from_double |= {tensor.dtype for tensor in tensors}
        self._count_products(func.overloadpacket.__name__, args, made)
        return made

    def _count_products(self, name: str, args: Any, made: Any) -> None:
        if name == "convolution":
            (weight, _, stride), n = args[1:4], made.numel() * args[1][0].numel()
            window = list(weight.shape[2:])
            self.products += n
            self.convolved += 0 if window == list(stride) and max(window) > 1 else n
        elif name in PRODUCTS and not made.is_nested:  # which has no sizes
            self.products += made.numel() * args[-1].shape[-2]
