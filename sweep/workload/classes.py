"""Class numbers: how many there are, stratified subsets, and warnings about likely mistakes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.errors import BadInput


def given_classes(config: Mapping[str, Any], *targets: Tensor) -> int | None:
    n = config.get("n_classes")
    if n is None:
        return None
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise BadInput(f"data.n_classes={n}: must be a whole number above 0")
    largest = max(int(y.max()) for y in targets)
    if targets[0].dtype == torch.int64 and largest >= n:
        raise BadInput(f"data.n_classes={n}: must be above the targets' largest class, {largest}")
    return n


def class_warnings(train: Tensor, val: Tensor, n_classes: int, n_dropped: int) -> list[str]:
    """Return one line for each likely mistake in the targets."""
    found = []
    if n_dropped:
        found.append(f"{n_dropped} samples are left out: all of their targets are -100 (ignored)")
    if train.dtype != torch.int64:
        return found
    n_train, n_val = (torch.bincount(y[y >= 0], minlength=n_classes) for y in (train, val))
    if train.dim() == 1 and n_classes > max(20, len(train) / 2):
        found.append(f"{n_classes} classes for {len(train)} samples: for numbers, return floats")
    if n_train[0] == n_val[0] == 0:
        found.append("no sample is of class 0: are the classes numbered from 1?")
    elif empty := torch.nonzero(n_train + n_val == 0).flatten().tolist():
        found.append(f"no sample is of class {', '.join(map(str, empty[:5]))}")
    if absent := torch.nonzero((n_train == 0) & (n_val > 0)).flatten().tolist():
        found.append(f"class {', '.join(map(str, absent[:5]))} is in val but not in train")
    return found


def part_of_training(targets: Tensor, n: int) -> np.ndarray:
    """Choose n rows with a fixed seed, stratified by class if the targets are class numbers."""
    rng = np.random.default_rng(0)
    if targets.dtype == torch.int64 and targets.dim() == 1:
        return stratified_rows(targets.numpy(), n, rng)
    return np.sort(rng.permutation(len(targets))[:n])


def stratified_rows(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Choose n rows, stratified by class (largest remainders); return their sorted numbers.

    Up to the rounding of each class, a larger n contains the rows of a smaller one.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (n / len(labels))
    quotas = np.floor(exact).astype(int)
    quotas[np.argsort(quotas - exact, kind="stable")[: n - quotas.sum()]] += 1
    rows = [rng.permutation(np.flatnonzero(labels == c)) for c in classes]
    return np.sort(np.concatenate([r[:quota] for r, quota in zip(rows, quotas, strict=True)]))
