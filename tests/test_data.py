"""The digits: what is read is what it should be, and the splits do not touch."""

import gzip
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sweep import data, digits
from sweep.config import BadInput
from sweep.digits import BUNDLED, DataDamaged, DataUnavailable, read_pair

CONFIG = {"_target_": "sweep.digits.mnist5k", "n_train": None, "n_val": 1000, "split_seed": 0}


def rows_of(split, **changes):
    """Identify the samples of a split by their bytes."""
    images, labels = digits.mnist5k(SimpleNamespace(**{**CONFIG, **changes}), split)
    return {image.numpy().tobytes() for image in images}, labels


def test_bundled_digits_are_the_first_500_of_each_class():
    images, labels = read_pair(BUNDLED, "mnist5k", "train")
    assert images.shape == (5000, 28, 28)
    assert (labels == np.repeat(np.arange(10), 500)).all()


def test_splits_are_stratified_and_disjoint():
    parts = {split: rows_of(split) for split in ("train", "val", "test")}
    assert [len(labels) for _, labels in parts.values()] == [3000, 1000, 1000]
    for _, labels in parts.values():
        assert len(set(labels.bincount().tolist())) == 1
    train, val, test = (samples for samples, _ in parts.values())
    assert not train & val and not train & test and not val & test


def test_split_seed_moves_validation_but_never_the_test_set():
    assert rows_of("val", split_seed=0)[0] != rows_of("val", split_seed=1)[0]
    assert rows_of("test", split_seed=0)[0] == rows_of("test", split_seed=1)[0]


def test_n_train_takes_a_stratified_part_of_the_same_training_set():
    part, labels = rows_of("train", n_train=1005)
    whole, _ = rows_of("train")
    assert part < whole and len(labels) == 1005
    assert set(labels.bincount().tolist()) == {100, 101}


@pytest.mark.parametrize("change", [{"n_train": 3001}, {"n_train": 0}, {"n_val": 4000}])
def test_impossible_splits_are_refused(change):
    with pytest.raises(BadInput, match=f"data.{next(iter(change))}="):
        rows_of("train", **change)


def test_samples_are_normalised_on_the_way_out():
    loaded = data.load(CONFIG)
    x, _ = loaded.train[torch.arange(len(loaded.train))]
    assert loaded.train.inputs.dtype == torch.uint8
    assert abs(x.mean()) < 1e-4 and abs(x.std() - 1) < 1e-4
    assert len(loaded.train_part) == len(loaded.val)
    assert (loaded.input_shape, loaded.n_classes) == ((1, 28, 28), 10)


def test_search_does_not_read_the_test_set(monkeypatch):
    asked = []
    real = digits.mnist5k
    monkeypatch.setattr(digits, "mnist5k", lambda c, split: asked.append(split) or real(c, split))
    data.load({**CONFIG, "split_seed": 5})
    assert asked == ["train", "val"]


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def packed(tmp_path):
    """A folder with the bundled digits' own files, as a stand-in for a download."""
    for path in BUNDLED.glob("*.gz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_packed_and_unpacked_files_read_alike(packed):
    before = read_pair(packed, "mnist5k", "train")
    for path in packed.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for one, other in zip(before, read_pair(packed, "mnist5k", "train"), strict=True):
        assert (one == other).all()


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda c: c[:-100], lambda c: b"", lambda c: b"<html>404</html>"],
    ids=["flipped", "cut", "empty", "html"],
)
@pytest.mark.parametrize("unpacked", [False, True])
def test_damaged_files_are_refused_by_name(packed, damage, unpacked):
    path = packed / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    if unpacked:
        path.unlink()
        path, content = path.with_suffix(""), gzip.decompress(content)
    path.write_bytes(damage(content))
    with pytest.raises(DataDamaged, match=path.name):
        read_pair(packed, "mnist5k", "train")


def test_without_files_and_download_the_data_are_unavailable(tmp_path):
    config = SimpleNamespace(root=str(tmp_path), download=False, n_val=10, n_train=None)
    with pytest.raises(DataUnavailable, match="MNIST"):
        digits.mnist(config, "train")


def test_stratified_is_nested():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    few = data.stratified(labels, 20, np.random.default_rng(1))
    many = data.stratified(labels, 60, np.random.default_rng(1))
    assert set(few) < set(many)
    assert np.bincount(labels[few]).tolist() == [10, 6, 4]
