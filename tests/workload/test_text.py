"""Texts as sequences: what is in which split, what a number stands for, what is refused."""

from collections import Counter

import numpy as np
import pytest
import torch
import yaml

from sweep.errors import BadInput
from sweep.places import CONF
from sweep.workload.data import load_data, load_test_split, read_split

YAML = yaml.safe_load((CONF / "data/text.yaml").read_text())
SPLITS = ("train", "val", "test")
ALL = {"length": 7, "n_chars": None, "n_train": None, "n_val": None}


@pytest.fixture
def book(tmp_path):
    """Return a function that writes a text and reads its splits."""

    def read(text, **numbers):
        path = tmp_path / "book.txt"
        path.write_bytes(text.encode())
        config = {**YAML, **ALL, "path": str(path), **numbers}
        return {split: read_split(config, split) for split in SPLITS}

    return read


def written(n, alphabet="abc déf\n\r\n漢字🙂", seed=0):
    rows = np.random.default_rng(seed).integers(len(alphabet), size=n)
    return "".join(alphabet[row] for row in rows)


def decoded(numbers, alphabet):
    return "".join(("?" + "".join(sorted(alphabet)))[number] for number in numbers.flatten())


@pytest.mark.parametrize(
    "ends",
    [(0, 802, 902, 1003), (0, 568, 639, 710), (0, 80, 90, 100)],  # 567 are 81 x 7
)
def test_splits_are_the_text_in_one_piece_each(book, ends):
    text = written(ends[-1], "ab")
    for split, first, last in zip(SPLITS, ends[:-1], ends[1:], strict=True):
        inputs, targets = book(text)[split]
        n = (last - first - 1) // 7 * 7
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape == targets.shape == (n // 7, 7)
        assert decoded(inputs, set(text)) == text[first : first + n]
        assert decoded(targets, set(text)) == text[first + 1 : first + 1 + n]


@pytest.mark.parametrize("length", [1, 5, 32])
def test_a_target_is_the_next_input(book, length):
    for inputs, targets in book(written(2000), length=length).values():
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        assert torch.equal(inputs[1:, 0], targets[:-1, -1])


def test_fewer_sequences_are_evenly_spaced(book):
    text = written(1003, "ab")
    every, few = book(text), book(text, n_train=4, n_val=3)
    for split, n in (("train", 4), ("val", 3)):
        total = len(every[split][0])
        rows = [k * total // n for k in range(n)]
        for some, all_ in zip(few[split], every[split], strict=True):
            assert torch.equal(some, all_[rows])
    assert torch.equal(few["test"][0], every["test"][0])
    more = book(text, n_train=10**9, n_val=10**9)
    assert all(torch.equal(more[split][1], every[split][1]) for split in SPLITS)


def test_n_chars_takes_the_beginning(book):
    text = written(1003)
    some, cut = book(text, n_chars=500), book(text[:500])
    assert all(torch.equal(some[split][0], cut[split][0]) for split in SPLITS)


@pytest.mark.parametrize("n_train", [None, 20])
def test_numbers_are_those_of_the_training_targets(book, n_train):
    train = "z" + written(1200) + "z" + written(398)  # the first z is no target
    text = train + "q" + written(200, "abcxyé") + written(199, "abcvw")
    splits = book(text, n_train=n_train)
    n = (1600 - 1) // 7
    rows = range(n) if n_train is None else [k * n // n_train for k in range(n_train)]
    counts = Counter("".join(text[row * 7 + 1 : row * 7 + 8] for row in rows))
    known = sorted(character for character, count in counts.items() if count > 1)
    numbers = {character: 1 + number for number, character in enumerate(known)}
    expected = [numbers.get(character, 0) for character in text]
    assert splits["train"][0][0].tolist() == expected[:7]
    assert splits["val"][0].flatten().tolist() == expected[1600 : 1600 + 28 * 7]
    assert splits["test"][1].flatten().tolist() == expected[1801 : 1801 + 28 * 7]
    assert splits["train"][1].max() == len(known)  # so that n_classes has room for all


def test_a_model_has_a_class_for_every_number_of_every_split(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("a~" + written(1000, "bcd\u0100") + written(250, "abcdefgh~\u0200"))
    config = {**YAML, **ALL, "path": str(path)}
    data = load_data(config)
    assert data.n_classes == 5 and data.input_shape == (7,)
    for split in (data.train, data.val, load_test_split(config, data)):
        assert int(split.inputs.max()) < 5 and int(split.targets.max()) < 5


def test_the_default_is_pythons_own_library():
    data = load_data(YAML)
    assert data.train.inputs.shape == (1000, 32) and data.val.inputs.shape == (200, 32)
    assert 64 < data.n_classes < 200
    assert (data.train.targets == 0).float().mean() < 1e-3
    assert (data.val.targets == 0).float().mean() < 1e-2


def test_an_empty_library_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(BadInput, match=r"data\.path=null: Python's library has no source"):
        read_split(YAML, "train")


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"path": "no/such.txt"}, r"data\.path=no/such\.txt: cannot be read \(No such file"),
        ({"path": "."}, r"data\.path=\.: cannot be read \("),
        ({"path": 7}, r"data\.path=7: must be a text file"),
        ({"path": ""}, r"data\.path=: cannot be read"),
        ({"length": 0}, r"data\.length=0: must be a whole number of at least 1"),
        ({"length": 1.5}, r"data\.length=1\.5: must be a whole number of at least 1"),
        ({"length": True}, r"data\.length=True: must be a whole number of at least 1"),
        ({"n_train": 0}, r"data\.n_train=0: must be a whole number of at least 1"),
        ({"n_chars": -1}, r"data\.n_chars=-1: must be a whole number of at least 1"),
        ({"n_chars": 320}, r"data\.length=32: must be shorter; a text of 320 .* for 'val'"),
        ({"length": 10**9}, r"a text of 1000000 characters .* for 'train'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(numbers, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        load_data({**YAML, **numbers})
    assert "\n" not in str(caught.value)


def test_wrong_n_val_and_binary_files_are_refused(book, tmp_path):
    with pytest.raises(BadInput, match=r"data\.n_val=many: must be a whole number of at least 1"):
        book(written(1000), n_val="many")
    (tmp_path / "x.bin").write_bytes(b"text\xff\xfe" * 1000)
    with pytest.raises(BadInput, match=r"x\.bin: is not UTF-8 text from byte 4 on"):
        read_split({**YAML, "path": str(tmp_path / "x.bin")}, "train")
