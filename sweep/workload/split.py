"""Samples as tensors on a device, handed out batch by batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sweep.workload.inputs import Inputs, map_named
from sweep.workload.samples import counted_elements

Scales = Mapping[str, tuple[float, float]]
Augment = Callable[[Any], Any]  # inputs -> inputs of a training batch


@dataclass(frozen=True)
class Split:
    """Samples, indexed by a tensor of rows of any shape."""

    inputs: Inputs  # of N samples
    targets: Tensor  # (N, ...) int64, float or bool
    scales: Scales = field(default_factory=dict)  # of each tensor of images: mean and std / 255
    dtype: torch.dtype = torch.float32  # of the floats it hands out
    augment: Augment | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Tensor) -> tuple[Inputs, Tensor]:
        def pick(name: str, tensor: Tensor) -> Tensor:
            x = tensor[rows]
            if name in self.scales:
                mean, std = self.scales[name]
                return (x.to(self.dtype) / 255 - mean) / std
            return x.to(self.dtype) if x.is_floating_point() else x

        y = self.targets[rows]
        return map_named(pick, self.inputs), y.to(self.dtype) if y.is_floating_point() else y

    @cached_property
    def counts(self) -> Tensor:
        """How many elements of each sample's targets count, (N,)."""
        return counted_elements(self.targets)

    def share(self, rows: Tensor) -> Tensor:
        """Return the part of all counted elements that lies in rows (S, B), for each of S."""
        return self.counts[rows].sum(-1) / self.counts.sum()


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """Return both of images / 255, exact and without a float copy."""
    counts = torch.bincount(images.flatten(), minlength=256).double()
    values = torch.arange(256).double() / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item() or 1.0
