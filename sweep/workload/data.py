"""A data set as tensors on the device; uint8 images stay uint8 and are normalised per batch.

The `_target_` of its YAML is a function `(config, split)` for the splits "train", "val" and "test".
It returns (inputs, targets), or a map-style torch Dataset of such pairs; None if there is no test.
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sweep.command.config import OF_ALL_DATA
from sweep.errors import BadInput, Unreachable
from sweep.workload.classes import class_warnings, given_classes, part_of_training
from sweep.workload.generators import ALL, restoring_states, seed_generators
from sweep.workload.imports import import_target
from sweep.workload.inputs import Inputs, input_tensors, map_inputs
from sweep.workload.noted import noted
from sweep.workload.samples import as_samples, converted, counted_elements
from sweep.workload.split import Augment, Split, mean_and_std


@dataclass(frozen=True)
class Data:
    train: Split
    train_part: Split  # a fixed part of train, at most as large as val, for training metrics
    val: Split
    sha256: str  # of all training and validation samples
    given_classes: int | None = None  # data.n_classes
    unread: frozenset[str] = frozenset()  # keys of data that its function did not read for these
    warnings: tuple[str, ...] = ()

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Data":
        def move(split: Split) -> Split:
            inputs = map_inputs(lambda t: t.to(device), split.inputs)
            return replace(split, inputs=inputs, targets=split.targets.to(device), dtype=dtype)

        train, part, val = map(move, (self.train, self.train_part, self.val))
        return replace(self, train=train, train_part=part, val=val)

    @property
    def input_shape(self) -> Any:
        """The shape of a sample; for several input tensors, a tuple or dict of shapes."""
        return map_inputs(lambda t: tuple(t.shape[1:]), self.train.inputs)

    @property
    def n_classes(self) -> int:
        """data.n_classes, or the number of classes, or of float or bool targets per sample."""
        targets = self.train.targets
        if self.given_classes is not None:
            return self.given_classes
        if targets.is_floating_point() or targets.dtype == torch.bool:
            return max(1, targets[0].numel())
        return 1 + max(int(split.targets.max()) for split in (self.train, self.val))

    @property
    def example(self) -> Inputs:
        """The first two training samples, as a model on the CPU receives them."""
        return map_inputs(lambda t: t.cpu(), self.train[torch.arange(min(2, len(self.train)))][0])


MOST_CLASSES = 1_000_000


def load_data(config: Mapping[str, Any]) -> Data:
    """Read the training and validation samples, but not the test samples."""
    return load_once(_Config(repr(sorted(config.items())), config))


@dataclass(frozen=True)
class _Config:
    """A data set's config that can be the key of a cache."""

    key: str
    config: Mapping[str, Any] = field(compare=False)


@lru_cache(maxsize=1)  # jobs in the same process read the data once
def load_once(frozen: _Config) -> Data:
    config = frozen.config
    read = set[str]()
    train, val = read_split(config, "train", read), read_split(config, "val", read)
    assert train and val  # only "test" may be missing
    check_alike(_data_key(config), train, val, "val")
    digest = hashlib.sha256()
    for inputs, targets in (train, val):
        for name, tensor in {**input_tensors(inputs), "targets": targets}.items():
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    (x, y), dropped = _without_uncounted(train)
    (x_val, y_val), dropped_val = _without_uncounted(val)
    scales = {
        name: mean_and_std(tensor)
        for name, tensor in input_tensors(x).items()
        if tensor.dtype == torch.uint8
    }
    part = torch.from_numpy(part_of_training(y, min(len(y), len(y_val))))
    whole = Split(x, y, scales)
    data = Data(
        train=replace(whole, augment=_augment(config)),
        train_part=replace(whole, inputs=map_inputs(lambda t: t[part], x), targets=y[part]),
        val=replace(whole, inputs=x_val, targets=y_val),
        sha256=digest.hexdigest(),
        given_classes=given_classes(config, y, y_val),
    )
    if y.dtype == torch.int64 and data.n_classes > MOST_CLASSES:
        seen = f"{data.n_classes} classes is more than {MOST_CLASSES}"
        raise BadInput(f"{_data_key(config)}: {seen}; for numbers, return floats")
    if y.dtype == torch.int64 and data.n_classes < 2:
        raise BadInput(f"{_data_key(config)}: has only class 0; at least two classes are needed")
    left_out = dropped + dropped_val
    warnings = class_warnings(data.train.targets, data.val.targets, data.n_classes, left_out)
    unread = config.keys() - OF_ALL_DATA.keys() - {"_target_", "fallback"} - read
    return replace(data, unread=frozenset(unread), warnings=tuple(warnings))


def _augment(config: Mapping[str, Any]) -> Augment | None:
    path = config.get("augment")
    if path is None:
        return None
    function = import_target("data.augment", path)
    if not callable(function):
        raise BadInput(f"data.augment={path}: must be a function inputs -> inputs")
    augment: Augment = function
    return augment


def _without_uncounted(samples: tuple[Inputs, Tensor]) -> tuple[tuple[Inputs, Tensor], int]:
    """Return the samples without those whose targets are all ignored, and how many these are."""
    inputs, targets = samples
    counts = counted_elements(targets) > 0
    if counts.all():
        return samples, 0
    return (map_inputs(lambda t: t[counts], inputs), targets[counts]), int((~counts).sum())


def _data_key(config: Mapping[str, Any]) -> str:
    return f"data._target_={config.get('_target_')}"


def load_test_split(
    config: Mapping[str, Any], data: Data, read: set[str] | None = None
) -> Split | None:
    """Read the test samples, if there are any; they are normalised like the training samples.

    The keys of the config that are read for it are added to `read`.
    """
    test = read_split(config, "test", read)
    if test is None:
        return None
    check_alike(_data_key(config), (data.train.inputs, data.train.targets), test, "test")
    (inputs, targets), _ = _without_uncounted(test)
    if targets.dtype == torch.int64 and int(targets.max()) >= data.n_classes:
        raise BadInput(f"{_data_key(config)}: classes of 'test' must be below {data.n_classes}")
    device = data.train.targets.device
    inputs = map_inputs(lambda t: t.to(device), inputs)
    return replace(data.train, inputs=inputs, targets=targets.to(device), augment=None)


def read_split(
    config: Mapping[str, Any], split: str, read: set[str] | None = None
) -> tuple[Inputs, Tensor] | None:
    """Call the function that `_target_` names; return its inputs and targets, checked.

    None if there is no test set. The keys that the function reads are added to `read`.
    """
    key, function = _data_key(config), import_target("data._target_", config.get("_target_"))
    if isinstance(function, type) or not _takes_two(function):
        raise BadInput(f"{key}: must be a function (config, split)")
    normalize = config.get("normalize", True)
    if not isinstance(normalize, bool):
        raise BadInput(f"data.normalize={normalize}: must be true or false")
    try:
        with restoring_states():  # a split at random is the same in every process
            seed_generators(ALL, 0)
            returned = function(noted(config, set() if read is None else read), split)
        if returned is None and split == "test":
            return None
        inputs, targets = as_samples(key, split, returned)
    except (BadInput, Unreachable):
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(f"{key}: {type(error).__name__}: {error}") from error
    return converted(inputs, normalize), targets


def check_alike(
    key: str,
    train: tuple[Inputs, Tensor],
    other: tuple[Inputs, Tensor],
    split: str,
) -> None:
    """Raise BadInput if samples of a split differ from training samples in shape or dtype."""
    kinds = [
        {
            f"inputs {name}".rstrip(): f"{tuple(tensor.shape[1:])} {tensor.dtype}"
            for name, tensor in {**input_tensors(inputs), "\0": targets}.items()
        }
        for inputs, targets in (train, other)
    ]
    for what in kinds[0] | kinds[1]:
        mine, theirs = (kind.get(what, "missing") for kind in kinds)
        if mine != theirs:
            name = "targets" if what.endswith("\0") else what
            raise BadInput(
                f"{key}: {name} of 'train' are {mine}, of {split!r} {theirs}; they must be alike"
            )


def _takes_two(function: Callable[..., Any]) -> bool:
    """Return whether it is Python's own code with two parameters, and others that have defaults."""
    if not inspect.isfunction(function) and not inspect.isfunction(type(function).__call__):
        return False
    parameters = list(inspect.signature(function).parameters.values())
    named = [p for p in parameters[:2] if p.kind == p.POSITIONAL_OR_KEYWORD]
    return len(named) == 2 and all(p.default is not p.empty for p in parameters[2:])
