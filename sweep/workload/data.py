"""A data set as tensors on the device: uint8 images stay uint8 and are normalised batch by batch.

A data set is a function `(config, split) -> (inputs, targets)` for the splits "train", "val" and
"test", named by `_target_` in its YAML; inputs (N, ...) uint8 or float, targets (N,) class numbers.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.errors import BadInput, Unreachable
from sweep.workload.imports import import_target

INPUTS = (torch.uint8, torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Split:
    """Samples, indexed by a tensor of rows of any shape."""

    inputs: Tensor  # (N, ...)
    targets: Tensor  # (N,) int64
    mean: float  # of the training inputs, on the scale of a uint8 divided by 255
    std: float
    dtype: torch.dtype = torch.float32  # of the samples it hands out

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        x = self.inputs[rows]
        if x.dtype == torch.uint8:
            x = (x.to(self.dtype) / 255 - self.mean) / self.std
        return x.to(self.dtype), self.targets[rows]


@dataclass(frozen=True)
class Data:
    train: Split
    train_part: Split  # a fixed part of train, as large as val: what train metrics are taken on
    val: Split
    sha256: str  # of all training and validation samples

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Data":
        def move(split: Split) -> Split:
            inputs, targets = split.inputs.to(device), split.targets.to(device)
            return replace(split, inputs=inputs, targets=targets, dtype=dtype)

        return Data(move(self.train), move(self.train_part), move(self.val), self.sha256)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.inputs.shape[1:])

    @property
    def n_classes(self) -> int:
        return 1 + max(int(split.targets.max()) for split in (self.train, self.val))


def load_data(config: Mapping[str, Any]) -> Data:
    """Read the training and validation samples; the test samples are not touched."""
    return load_once(_Config(repr(sorted(config.items())), config))


@dataclass(frozen=True)
class _Config:
    """A data set's config, which a cache can compare."""

    key: str
    config: Mapping[str, Any] = field(compare=False)


@lru_cache(maxsize=1)  # the jobs of one process share what it has read
def load_once(frozen: _Config) -> Data:
    config = frozen.config
    (x, y), (x_val, y_val) = read_split(config, "train"), read_split(config, "val")
    _check_alike(config, x, x_val, "val")
    digest = hashlib.sha256()
    for tensor in (x, y, x_val, y_val):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    mean, std = _mean_and_std(x) if x.dtype == torch.uint8 else (0.0, 1.0)
    part = stratified_rows(y.numpy(), min(len(y), len(y_val)), np.random.default_rng(0))
    data = Data(
        train=Split(x, y, mean, std),
        train_part=Split(x[part], y[part], mean, std),
        val=Split(x_val, y_val, mean, std),
        sha256=digest.hexdigest(),
    )
    if data.n_classes < 2:
        raise BadInput(f"{_data_key(config)}: has one class only, 0")
    return data


def _data_key(config: Mapping[str, Any]) -> str:
    return f"data._target_={config.get('_target_')}"


def load_test_split(config: Mapping[str, Any], data: Data) -> Split:
    """Read the test samples, to be normalised as the training samples are."""
    x, y = read_split(config, "test")
    _check_alike(config, data.train.inputs, x, "test")
    n = data.n_classes
    if int(y.max()) >= n:
        raise BadInput(f"{_data_key(config)}: 'test' has classes beyond the {n}")
    device = data.train.inputs.device
    return replace(data.train, inputs=x.to(device), targets=y.to(device))


def read_split(config: Mapping[str, Any], split: str) -> tuple[Tensor, Tensor]:
    """Call the function that the data set's `_target_` names and check what it returns."""
    key, function = _data_key(config), import_target("data._target_", config.get("_target_"))
    if not inspect.isfunction(function) or not _takes_two(function):
        raise BadInput(f"{key}: must be a function (config, split)")
    try:
        x, y = function(SimpleNamespace(**config), split)
        fits = isinstance(x, Tensor) and isinstance(y, Tensor)
    except (BadInput, Unreachable):
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(f"{key}: {type(error).__name__}: {error}") from error
    if not fits:
        raise BadInput(f"{key}: must return two tensors, inputs and targets")
    _check_tensors(x, y, key, split)
    return x.detach(), y


def _check_tensors(x: Tensor, y: Tensor, key: str, split: str) -> None:
    """Raise BadInput where tensors are no samples that can be trained on."""
    if x.ndim == 0 or y.ndim != 1 or len(x) != len(y) or not len(y) or y.dtype != torch.int64:
        raise BadInput(
            f"{key}: inputs {tuple(x.shape)} and targets {tuple(y.shape)} {y.dtype} "
            f"of {split!r} must be of one length, not empty, targets int64 class numbers"
        )
    plain = x.layout == y.layout == torch.strided and x.device.type == y.device.type == "cpu"
    if not plain or x.dtype not in INPUTS:
        raise BadInput(
            f"{key}: inputs of {split!r} must be uint8 or float, dense and on the CPU, "
            f"not {x.dtype}, {x.layout} on {x.device}"
        )
    if (x.is_floating_point() and not x.isfinite().all()) or y.min() < 0:
        raise BadInput(f"{key}: {split!r} must hold finite inputs and no class below 0")


def _check_alike(config: Mapping[str, Any], train: Tensor, other: Tensor, split: str) -> None:
    """Raise BadInput where samples of a split are not of the kind that is trained on."""
    kinds = [f"{tuple(x.shape[1:])} {x.dtype}" for x in (train, other)]
    if kinds[0] != kinds[1]:
        raise BadInput(
            f"{_data_key(config)}: inputs of 'train' are {kinds[0]}, "
            f"of {split!r} {kinds[1]}; they must be alike"
        )


def _takes_two(function: Callable[..., Any]) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    return kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2


def stratified_rows(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Choose n rows, each class in proportion (largest remainders); returns their sorted numbers.

    A larger n contains the smaller ones' rows but for the rounding of a class.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (n / len(labels))
    quotas = np.floor(exact).astype(int)
    quotas[np.argsort(quotas - exact, kind="stable")[: n - quotas.sum()]] += 1
    rows = [rng.permutation(np.flatnonzero(labels == c)) for c in classes]
    return np.sort(np.concatenate([r[:quota] for r, quota in zip(rows, quotas, strict=True)]))


def _mean_and_std(images: Tensor) -> tuple[float, float]:
    """Return both of images / 255, exact and without a float copy."""
    counts = torch.bincount(images.flatten(), minlength=256).double()
    values = torch.arange(256).double() / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    return mean.item(), variance.sqrt().item()
