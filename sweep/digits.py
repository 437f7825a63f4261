"""MNIST and Fashion-MNIST from torchvision's files, and the 5,000 digits shipped with this project.

What is read is verified by checksum; the images stay uint8.
"""

import gzip
import hashlib
import socket
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from sweep.config import BadInput
from sweep.data import stratified

BUNDLED = Path(__file__).parent / "mnist5k"

# sha256 of the unpacked idx files; the md5 of the packed ones are torchvision's
SHA256 = {
    "MNIST": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    "mnist5k": {
        "train-images-idx3-ubyte": "a4a9358b9ba319305e7cd69b2c7410e463401e152d7e9e60189b94a3f159d012",
        "train-labels-idx1-ubyte": "704256e87519240fd1d7ecdf681fe209864691e252c6642aeadc21f3c4d44b41",
    },
}


class DataUnavailable(Exception):
    """The files are neither on disk nor to be had by download."""


class DataDamaged(Exception):
    """A file is there, but it is not what it should be."""


def mnist(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return 50,000 digits for training, 10,000 for validation or the 10,000 of the test set."""
    return _official("MNIST", config, split)


def fashion_mnist(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return pictures of clothes in MNIST's format and numbers."""
    return _official("FashionMNIST", config, split)


def mnist5k(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return 3,000 of the bundled digits for training, 1,000 for validation or 1,000 for the test."""
    images, labels = read_pair(BUNDLED, "mnist5k", "train")
    test = stratified(labels, 1000, np.random.default_rng(0))
    rows = test if split == "test" else _train_or_val(labels, config, split, without=test)
    return _tensors(images[rows], labels[rows])


def _official(name: str, config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    folder = folder_of(name, Path(config.root).expanduser(), config.download)
    if split == "test":
        return _tensors(*read_pair(folder, name, "t10k"))
    images, labels = read_pair(folder, name, "train")
    rows = _train_or_val(labels, config, split)
    return _tensors(images[rows], labels[rows])


def _train_or_val(
    labels: np.ndarray, config: SimpleNamespace, split: str, without: np.ndarray | None = None
) -> np.ndarray:
    """Return the rows of one split: stratified, seeded, and without those given away already."""
    free = np.setdiff1d(np.arange(len(labels)), [] if without is None else without)
    for key, n in (("n_val", config.n_val), ("n_train", config.n_train or 1)):
        if not (isinstance(n, int) and 1 <= n < len(free)):
            raise BadInput(f"data.{key}={n}: must be a number of samples below {len(free)}")
    rng = np.random.default_rng(config.split_seed)
    val = stratified(labels[free], config.n_val, rng)
    if split == "val":
        return free[val]
    rest = np.delete(free, val)
    n_train = config.n_train or len(rest)
    if n_train > len(rest):
        raise BadInput(f"data.n_train={n_train}: at most {len(rest)} are left by data.n_val")
    return rest[stratified(labels[rest], n_train, rng)]


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


def folder_of(name: str, root: Path, download: bool) -> Path:
    """Return the folder that holds the files, packed or not, after a download if it must be."""
    wanted = list(SHA256[name])
    for folder in (root / name / "raw", root):
        if all(_find(folder, file) for file in wanted):
            return folder
    if not download:
        raise DataUnavailable(f"{name} is not in {root} and data.download is false")
    import torchvision  # takes two seconds, so only where it must be

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # seconds; torchvision sets none
    try:
        getattr(torchvision.datasets, name)(root, download=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataUnavailable(f"{name} is not in {root} and cannot be downloaded ({reason})") from None
    finally:
        socket.setdefaulttimeout(before)
    return root / name / "raw"


def _find(folder: Path, file: str) -> Path | None:
    return next((p for p in (folder / file, folder / f"{file}.gz") if p.is_file()), None)


def read_pair(folder: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (N, 28, 28) and labels (N,) of a pair of idx files, both uint8."""
    images = _read_idx(folder, name, f"{part}-images-idx3-ubyte")
    labels = _read_idx(folder, name, f"{part}-labels-idx1-ubyte")
    return images[16:].reshape(-1, 28, 28), labels[8:]


def _read_idx(folder: Path, name: str, file: str) -> np.ndarray:
    path = _find(folder, file)
    if path is None:
        raise DataUnavailable(f"{folder / file} is missing")
    try:
        packed = path.read_bytes()
        content = gzip.decompress(packed) if path.suffix == ".gz" else packed
    except (OSError, EOFError, zlib.error) as error:
        raise DataDamaged(f"{path} cannot be read ({error}): delete it and run again") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name][file]:
        raise DataDamaged(f"{path} is damaged: its checksum is not {name}'s; delete it and run again")
    return np.frombuffer(content, np.uint8)
