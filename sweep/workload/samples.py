"""Turns what a user's data function returns into tensors, or raises BadInput."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset
from tqdm import tqdm

from sweep.errors import BadInput
from sweep.workload.inputs import Inputs, input_tensors, map_inputs

IGNORED = -100  # a class number that does not count, as in torch.nn.functional.cross_entropy
READ_TWICE = 16  # about so many items of a Dataset; a random transform changes one almost surely
ALLOWED = "must return (inputs, targets) or a map-style Dataset of such pairs"


def as_samples(key: str, split: str, returned: Any) -> tuple[Inputs, Tensor]:
    """Return inputs and targets as tensors whose first axis is the samples.

    Targets are int64 class numbers, floats or bools. Raises BadInput if they cannot be trained on.
    """
    if isinstance(returned, Dataset):
        returned = _stacked(key, split, returned)
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise BadInput(f"{key}: for {split!r} it {ALLOWED}, not {_described(returned)}")
    inputs, targets = _tensors(key, split, returned[0]), _as_tensor(returned[1])
    if targets is None:
        kind = _described(returned[1])
        raise BadInput(f"{key}: targets of {split!r} must be a tensor or an array, not {kind}")
    if not (targets.is_floating_point() or targets.dtype == torch.bool):
        targets = targets.to(torch.int64)
    _check_inputs(key, split, inputs, targets)
    _check_targets(key, split, targets)
    return inputs, targets


def counted_elements(targets: Tensor) -> Tensor:
    """Return how many class numbers of each sample count, (N,); 1 for float and bool targets."""
    if targets.is_floating_point() or targets.dtype == torch.bool:
        return torch.ones(len(targets), dtype=torch.float64, device=targets.device)
    counted = (targets != IGNORED).reshape(len(targets), -1)
    return counted.sum(1, dtype=torch.float64)


def _tensors(key: str, split: str, inputs: Any) -> Inputs:
    """Return inputs as a tensor, or a tuple or dict of tensors."""
    if isinstance(inputs, dict):
        parts = {str(name): _as_tensor(part) for name, part in inputs.items()}
        given: list[Any] = list(inputs.values())
    elif isinstance(inputs, tuple):
        parts = {str(place): _as_tensor(part) for place, part in enumerate(inputs)}
        given = list(inputs)
    else:
        parts, given = {"": _as_tensor(inputs)}, [inputs]
    for part, original in zip(parts.values(), given, strict=True):
        if part is None:
            raise BadInput(
                f"{key}: inputs of {split!r} must be a tensor or an array, or a tuple or dict of "
                f"them, not {_described(original)}"
            )
    tensors = {name: part for name, part in parts.items() if part is not None}
    if not tensors:
        raise BadInput(f"{key}: inputs of {split!r} are empty")
    if isinstance(inputs, dict):
        return tensors
    return tuple(tensors.values()) if isinstance(inputs, tuple) else tensors[""]


def _as_tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.ascontiguousarray(value).astype(value.dtype.newbyteorder("=")))
    return value.detach() if isinstance(value, Tensor) else None


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    return f"a {type(value).__name__}"


def _check_inputs(key: str, split: str, inputs: Inputs, targets: Tensor) -> None:
    for name, tensor in input_tensors(inputs).items():
        what = f"inputs {name!r}" if name else "inputs"
        seen = f"{tuple(tensor.shape)} {tensor.dtype}, {tensor.layout} on {tensor.device}"
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_complex():
            raise BadInput(
                f"{key}: {what} of {split!r} must be dense real tensors on the CPU, not {seen}"
            )
        if tensor.dim() == 0 or len(tensor) != len(targets) or not len(tensor):
            raise BadInput(
                f"{key}: {what} {tuple(tensor.shape)} and targets {tuple(targets.shape)} of "
                f"{split!r} must have the same length, above 0, along their first axis"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise BadInput(f"{key}: {what} of {split!r} must be finite")


def _check_targets(key: str, split: str, targets: Tensor) -> None:
    if targets.layout != torch.strided or targets.device.type != "cpu" or targets.is_complex():
        raise BadInput(f"{key}: targets of {split!r} must be a dense real tensor on the CPU")
    if targets.is_floating_point():
        if not targets.isfinite().all():
            raise BadInput(f"{key}: targets of {split!r} must be finite")
    elif targets.dtype == torch.int64:
        wrong = targets[(targets < 0) & (targets != IGNORED)]
        if len(wrong):
            raise BadInput(
                f"{key}: targets of {split!r} have {int(wrong[0])}; class numbers must be 0 or "
                f"more, or {IGNORED} to be ignored"
            )
        if not (targets != IGNORED).any():
            raise BadInput(f"{key}: targets of {split!r} must not all be {IGNORED} (ignored)")


def _stacked(key: str, split: str, dataset: Dataset[Any]) -> tuple[Any, Any]:
    """Read and stack the items of a map-style Dataset; some are read twice and must not differ."""
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise BadInput(f"{key}: {ALLOWED}, not a {type(dataset).__name__} without a length")
    n = len(dataset)
    if not n:
        raise BadInput(f"{key}: the Dataset of {split!r} is empty")
    for i in range(0, n, max(1, n // READ_TWICE)):
        if not _same(_pair(key, split, dataset[i]), _pair(key, split, dataset[i])):
            raise BadInput(
                f"{key}: item {i} of {split!r} differs when it is read twice; move random "
                "transforms to data.augment=<path of a function inputs -> inputs>"
            )
    bar = tqdm(range(n), f"reading {split}", leave=False, delay=1.0, dynamic_ncols=True)
    items = [_pair(key, split, dataset[i]) for i in bar]
    try:
        inputs = _stack([x for x, _ in items])
        return inputs, torch.stack([torch.as_tensor(y) for _, y in items])
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadInput(
            f"{key}: items of {split!r} must be numbers of the same shape and type ({error})"
        ) from None


def _pair(key: str, split: str, item: Any) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise BadInput(
            f"{key}: items of {split!r} must be pairs (inputs, target), not {_described(item)}"
        )
    return item[0], item[1]


def _stack(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {name: _stack([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple | list):
        return tuple(_stack(column) for column in zip(*parts, strict=True))
    return torch.stack([torch.as_tensor(part) for part in parts])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return all(_same(one[name], other[name]) for name in one)
    if isinstance(one, tuple | list):
        return all(map(_same, one, other))
    try:
        return torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    except (RuntimeError, TypeError, ValueError):  # not numbers: stacking them fails later
        return True


def converted(inputs: Inputs, normalize: bool) -> Inputs:
    """Return inputs as they are kept: without `normalize`, uint8 are no images and become int64."""
    if normalize:
        return inputs
    return map_inputs(lambda t: t.to(torch.int64) if t.dtype == torch.uint8 else t, inputs)
