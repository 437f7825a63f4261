"""A text as sequences of characters; the target of each character is the next one.

The first 80% of the text is for training, the next 10% for validation, the last 10% for the test.
Each part is cut into N sequences of T characters that do not overlap.
"""

import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sweep.errors import BadInput, require

SHORTEST = 30  # characters, so that each part has a sequence of one
TENTHS = {"train": (0, 8), "val": (8, 9), "test": (9, 10)}


def text(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return the characters (N, T) and the next characters (N, T), both as int64 numbers."""
    codes = _read_codes(config)
    ids = _number_characters(_cut(codes, "train", config)[1])
    inputs, targets = _cut(codes, split, config)
    return torch.from_numpy(ids[inputs]), torch.from_numpy(ids[targets])


def _number_characters(targets: np.ndarray) -> np.ndarray:
    """Return the number of each Unicode character, from the targets of the training sequences.

    Characters seen at least twice are 1, 2 ... in Unicode order. All others are 0: those seen once
    teach the model how likely a character is that it has never seen.
    """
    known = np.bincount(targets.ravel(), minlength=sys.maxunicode + 1) > 1
    return np.where(known, known.cumsum(), 0)


def _cut(codes: np.ndarray, split: str, config: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs and targets (N, T) of a split: all sequences, or fewer, evenly spaced."""
    _check_whole("length", config.length)
    first, last = (len(codes) * tenth // 10 for tenth in TENTHS[split])
    n = (last - first - 1) // config.length
    if n < 1 and len(codes) < SHORTEST:
        raise BadInput(f"data.path={config.path}: has only {len(codes)} characters")
    if n < 1:
        raise BadInput(
            f"data.length={config.length}: must be shorter; a text of {len(codes)} characters has "
            f"no such sequence for {split!r}"
        )
    inputs = codes[first : first + n * config.length].reshape(n, -1)
    targets = codes[first + 1 : first + 1 + n * config.length].reshape(n, -1)
    most = {"train": config.n_train, "val": config.n_val}.get(split)
    if most is None:
        return inputs, targets
    _check_whole(f"n_{split}", most)
    rows = np.arange(min(n, most)) * n // min(n, most)
    return inputs[rows], targets[rows]


def _read_codes(config: SimpleNamespace) -> np.ndarray:
    """Return the Unicode code points of the first `n_chars` characters of the text."""
    files = _library_files() if config.path is None else [_file(config.path)]
    characters = "".join(_decoded(file, config.path) for file in files)
    if config.n_chars is not None:
        _check_whole("n_chars", config.n_chars)
        characters = characters[: config.n_chars]
    return np.frombuffer(characters.encode("utf-32-le"), np.uint32)


def _file(path: Any) -> Path:
    require(isinstance(path, str), "data.path", path, "must be a text file")
    return Path(path).expanduser()


def _library_files() -> list[Path]:
    """Return the modules of Python's standard library, which depend only on Python's version."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("_"))
    files = [file for name in names if (file := folder / f"{name}.py").is_file()]
    require(bool(files), "data.path", "null", f"Python's library has no source files in {folder}")
    return files


def _decoded(file: Path, path: Any) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise BadInput(f"data.path={path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"data.path={path}: is not UTF-8 text from byte {error.start} on") from None


def _check_whole(key: str, n: Any) -> None:
    whole = isinstance(n, int) and not isinstance(n, bool) and n >= 1
    require(whole, f"data.{key}", n, "must be a whole number of at least 1")
