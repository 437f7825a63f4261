"""MNIST and Fashion-MNIST from torchvision's files, and the 5,000 digits shipped with this project.

Each file is verified by its checksum when it is read. Images stay uint8.
"""

import gzip
import hashlib
import os
import socket
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.errors import BadInput, DataDamaged, DataUnavailable, last_line
from sweep.workload.classes import stratified_rows

BUNDLED = Path(__file__).parent / "mnist5k"


@cache
def checksums() -> dict[str, str]:
    """Return the SHA256 of each uncompressed idx file, by "<data set>/<file>"."""
    lines = (Path(__file__).parent / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in map(str.split, lines)}


def mnist(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return 50,000 digits for training, 10,000 for validation or the 10,000 of the test set."""
    return _torchvision_split("MNIST", config, split)


def fashion_mnist(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return pictures of clothes, as many as digits in MNIST and in the same format."""
    return _torchvision_split("FashionMNIST", config, split)


def mnist5k(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return 3,000 of the bundled digits for training, 1,000 for validation or 1,000 for test."""
    images, labels = read_pair(BUNDLED, "mnist5k", "train")
    test = stratified_rows(labels, 1000, np.random.default_rng(0))
    rows = test if split == "test" else _train_or_val(labels, config, split, without=test)
    return _as_tensors(images[rows], labels[rows])


def _torchvision_split(name: str, config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    if not isinstance(config.root, str):
        raise BadInput(f"data.root={config.root}: must be a folder")
    if not isinstance(config.download, bool):
        raise BadInput(f"data.download={config.download}: must be true or false")
    folder = folder_of(name, Path(config.root).expanduser(), config.download)
    if split == "test":
        return _as_tensors(*(array.copy() for array in read_pair(folder, name, "t10k")))
    images, labels = read_pair(folder, name, "train")
    rows = _train_or_val(labels, config, split)
    return _as_tensors(images[rows], labels[rows])


def _train_or_val(
    labels: np.ndarray, config: SimpleNamespace, split: str, without: np.ndarray | None = None
) -> np.ndarray:
    """Return the rows of a split, stratified and seeded; the rows of `without` are left out."""
    free = np.setdiff1d(np.arange(len(labels)), [] if without is None else without)
    seed = _whole_number("split_seed", config.split_seed, 0, 2**32 - 1, "a whole number")
    rng = np.random.default_rng(seed)
    val = stratified_rows(labels[free], _sample_count("n_val", config.n_val, len(free) - 1), rng)
    if split == "val":
        return free[val]
    rest = np.delete(free, val)
    n_train = len(rest) if config.n_train is None else config.n_train
    return rest[stratified_rows(labels[rest], _sample_count("n_train", n_train, len(rest)), rng)]


def _sample_count(key: str, n: Any, most: int) -> int:
    return _whole_number(key, n, 1, most, "a number of samples")


def _whole_number(key: str, n: Any, least: int, most: int, what: str) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or not least <= n <= most:
        raise BadInput(f"data.{key}={n}: must be {what} from {least} to {most}")
    return n


def _as_tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


def folder_of(name: str, root: Path, download: bool) -> Path:
    """Return the folder with the files (.gz or not); if they are missing, `download` gets them."""
    wanted = [path.removeprefix(f"{name}/") for path in checksums() if path.startswith(f"{name}/")]
    for folder in (root / name / "raw", root):
        if all(_find_file(folder, file) for file in wanted):
            return folder
    if not download:
        raise DataUnavailable(f"{name} is not in {root} and data.download is false")
    try:
        _download_files(name, root, wanted)
    except (OSError, RuntimeError) as error:
        reason = last_line(str(error)) or type(error).__name__
        raise DataUnavailable(
            f"{name} is not in {root} and cannot be downloaded ({reason})"
        ) from None
    return root / name / "raw"


def _download_files(name: str, root: Path, wanted: Sequence[str]) -> None:
    """Download files to a temporary folder, verify them, then move each into place in one step.

    So a killed command leaves no partial file, and two commands can download at the same time.
    """
    import torchvision  # takes two seconds, so only if it is needed

    new = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds; torchvision sets none
    try:
        with TemporaryDirectory(prefix=f".{name}-", dir=root) as temporary:
            getattr(torchvision.datasets, name)(temporary, download=True)
            got, place = Path(temporary) / name / "raw", root / name / "raw"
            for file in wanted:
                _read_idx(got, name, file)
            place.mkdir(parents=True, exist_ok=True)
            for file in wanted:
                os.replace(got / file, place / file)
    except (OSError, RuntimeError):
        for folder in new:
            with suppress(OSError):
                folder.rmdir()
        raise
    finally:
        socket.setdefaulttimeout(before)


def _find_file(folder: Path, file: str) -> Path | None:
    return next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)


def read_pair(folder: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (N, 28, 28) and labels (N,) of a pair of idx files, both uint8."""
    images = _read_idx(folder, name, f"{part}-images-idx3-ubyte")
    labels = _read_idx(folder, name, f"{part}-labels-idx1-ubyte")
    return images[16:].reshape(-1, 28, 28), labels[8:]


def _read_idx(folder: Path, name: str, file: str) -> np.ndarray:
    path = _find_file(folder, file)
    if path is None:
        raise DataUnavailable(f"{folder / file} is missing")
    try:
        packed = path.read_bytes()
        content = gzip.decompress(packed) if path.suffix == ".gz" else packed
    except (OSError, EOFError, zlib.error) as error:
        raise DataDamaged(f"{path} cannot be read ({error}): delete it and run again") from None
    if hashlib.sha256(content).hexdigest() != checksums()[f"{name}/{file}"]:
        raise DataDamaged(
            f"{path} is damaged: its checksum is not {name}'s; delete it and run again"
        )
    return np.frombuffer(content, np.uint8)
