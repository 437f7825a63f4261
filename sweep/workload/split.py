"""Samples as tensors on a device, from which batches are indexed."""

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
    """Samples that are indexed by a tensor of row numbers of any shape."""

    inputs: Inputs  # of N samples
    targets: Tensor  # (N, ...) int64, float or bool
    scales: Scales = field(default_factory=dict)  # mean and std of images / 255, by input name
    dtype: torch.dtype = torch.float32  # of floats in batches
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
        """How many class numbers of each sample count, (N,); 1 for float and bool targets."""
        return counted_elements(self.targets)

    def share(self, rows: Tensor) -> Tensor:
        """Return the part of all counted targets that is in rows (S, B), for each seed (S,)."""
        return self.counts[rows].sum(-1) / self.counts.sum()


def mean_and_std(images: Tensor) -> tuple[float, float]:
    """Return the mean and std of images / 255, exactly and without a float copy; a std 0 as 1."""
    counts = torch.bincount(images.flatten(), minlength=256).double()
    values = torch.arange(256).double() / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item() or 1.0
