"""Arrays that a Python program gives: read from its memory, or by other processes from a file."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from sweep.errors import BadInput, DataUnavailable
from sweep.files import whole_file
from sweep.workload.classes import part_of_training
from sweep.workload.inputs import Inputs, input_tensors, map_inputs

Samples = tuple[Inputs, Tensor]
PARTS = 5  # one of them is for validation if there are no samples for it

_held: dict[str, Mapping[str, Samples]] = {}  # sha256 -> split -> samples, while a study runs


def arrays(config: SimpleNamespace, split: str) -> Samples | None:
    """Return the samples of a split, or None if there are none for "test"."""
    splits, file = _held.get(config.sha256), _file(vars(config))
    if splits is None:
        if not file.is_file():
            raise DataUnavailable(f"{file}: is missing; sweep.find writes it again")
        splits = torch.load(file, weights_only=True, mmap=True)
    return splits.get(split)


@contextmanager
def hold_arrays(splits: Mapping[str, Samples]) -> Iterator[str]:
    """Keep samples in memory for `arrays`; yield their SHA-256, by which they are known."""
    digest = hashlib.sha256()
    for split, (inputs, targets) in sorted(splits.items()):
        for name, tensor in {**input_tensors(inputs), "targets": targets}.items():
            kind = f"{split} {type(inputs).__name__} {name!r} {tensor.dtype} {tuple(tensor.shape)}"
            digest.update(kind.encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    sha256 = digest.hexdigest()
    _held[sha256] = splits
    try:
        yield sha256
    finally:
        del _held[sha256]


def write_held(config: Mapping[str, Any]) -> None:
    """Write the file of a data config's samples if these are in memory only."""
    splits = _held.get(str(config.get("sha256")))
    if splits is None or _file(config).exists():
        return
    _file(config).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(_file(config)) as file:
        torch.save(dict(splits), file)


def _file(config: Mapping[str, Any]) -> Path:
    return Path(config["root"], f"{config['sha256']}.pt")


def split_off(samples: Samples) -> tuple[Samples, Samples]:
    """Return training and validation samples: a fifth, stratified by class, else at random."""
    inputs, targets = samples
    n = len(targets) // PARTS
    if not n:
        raise BadInput(f"train: has {len(targets)} samples, too few to split off a fifth; give val")
    chosen = torch.zeros(len(targets), dtype=torch.bool)
    chosen[torch.from_numpy(part_of_training(targets, n))] = True

    def part(rows: Tensor) -> Samples:
        return map_inputs(lambda t: t[rows], inputs), targets[rows]

    return part(~chosen), part(chosen)
