"""What a data function may return, and what is refused in one line."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from sweep.errors import BadInput
from sweep.workload import data
from sweep.workload.samples import as_samples, counted_elements

IDS, MASK = torch.arange(24).view(6, 4) % 5, torch.ones(6, 4, dtype=torch.bool)
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]() if callable(self.items[i]) else self.items[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(1.0, 0)])


@pytest.fixture
def load(monkeypatch):
    """Return a function that loads a data set which returns the same for all splits."""

    def load(returned, **config):
        monkeypatch.setattr(data, "own", lambda config, split: returned, raising=False)
        data.load_once.cache_clear()
        return data.load_data({"_target_": "sweep.workload.data.own", **config})

    yield load
    data.load_once.cache_clear()


def test_integers_and_masks_are_left_alone_and_images_are_normalised(load):
    images = (torch.arange(6 * 9).view(6, 1, 3, 3) * 4).to(torch.uint8)
    (ids, mask, pictures), y = load(((IDS, MASK, images), CLASSES)).train[torch.tensor([0, 3])]
    assert torch.equal(ids, IDS[[0, 3]]) and torch.equal(mask, MASK[[0, 3]])
    assert pictures.dtype == torch.float32 and y.tolist() == [0, 0]
    whole = load((images, CLASSES)).train[torch.arange(6)][0]
    assert abs(whole.mean()) < 1e-6 and abs(whole.std(correction=0) - 1) < 1e-5
    raw = load((images, CLASSES), normalize=False).train[torch.arange(6)][0]
    assert raw.dtype == torch.int64 and torch.equal(raw, images.long())


def test_dict_keeps_its_names(load):
    loaded = load(({"ids": IDS.numpy().astype("int32"), "mask": MASK}, CLASSES.numpy()))
    x, _ = loaded.train[torch.tensor([1])]
    assert set(x) == {"ids", "mask"} and torch.equal(x["ids"], IDS[[1]].int())
    assert loaded.input_shape == {"ids": (4,), "mask": (4,)}


def test_a_dataset_is_stacked():
    pairs = [((ids, np.float32(i)), i % 3) for i, ids in enumerate(IDS)]
    (ids, numbers), y = as_samples("data", "train", Items(*pairs))
    assert torch.equal(ids, IDS) and numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(y, CLASSES)


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (Items(*[lambda: (torch.rand(3), 0)] * 20), "differs when it is read twice.*data.augment="),
        (Items(), "is empty"),
        (Items(1, 2), r"must be pairs \(inputs, target\)"),
        (
            Items((torch.zeros(2), 0), (torch.zeros(3), 1)),
            "must be numbers of the same shape and type",
        ),
        (Items(("a", 0), ("b", 1)), "must be numbers of the same shape and type"),
        (Stream(), "a Stream without a length"),
        (IDS, "not a Tensor"),
        (([1, 2], CLASSES), "not a list"),
        ((IDS, [0, 1]), "targets of 'train' must be a tensor or an array"),
        (({}, CLASSES), "are empty"),
        (({"ids": IDS[:3]}, CLASSES), r"inputs 'ids' \(3, 4\)"),
        ((IDS, CLASSES - 1), "must be 0 or more, or -100"),
        ((IDS, CLASSES * 0 - 100), "targets of 'train' must not all be -100"),
        ((IDS, CLASSES / 0), "must be finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(returned, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        as_samples("data._target_=own", "train", returned)
    assert "\n" not in str(caught.value)


def test_samples_without_a_counted_target_are_left_out_and_said(load):
    targets = torch.stack([CLASSES, CLASSES], 1)
    targets[2] = targets[4, 0] = -100
    loaded = load((IDS, targets))
    assert len(loaded.train) == 5 and loaded.warnings[0].startswith("2 samples are left out")
    assert counted_elements(loaded.train.targets).tolist() == [2, 2, 2, 1, 2]
    rows = torch.tensor([[0, 3], [1, 2]])
    assert loaded.train.share(rows).tolist() == pytest.approx([3 / 9, 4 / 9])


@pytest.mark.parametrize(
    ("classes", "warning"),
    [
        (CLASSES + 1, "no sample is of class 0: are the classes numbered from 1?"),
        (CLASSES * 2, "no sample is of class 1, 3"),
    ],
)
def test_classes_that_look_like_a_mistake_are_a_warning(load, classes, warning):
    assert load((IDS, classes)).warnings == (warning,)


def test_number_of_classes_may_be_given(load):
    assert load((IDS, CLASSES), n_classes=7).n_classes == 7
    for n, complaint in ((2, "above the targets' largest class, 2"), (0, ""), (2.5, "")):
        with pytest.raises(BadInput, match=rf"data\.n_classes={n}: .*{complaint}"):
            load((IDS, CLASSES), n_classes=n)


def test_a_random_split_is_the_same_in_every_call(monkeypatch):
    def own(config, split):
        shuffled = random.sample(range(60), 60)
        order = [shuffled, np.random.permutation(60), torch.randperm(60).numpy()]
        rows = torch.as_tensor(np.array(order[config.by]))
        part = rows[:40] if split == "train" else rows[40:]
        return part.float()[:, None], part % 3

    monkeypatch.setattr(data, "own", own, raising=False)
    for by in range(3):
        data.load_once.cache_clear()
        before = random.getstate(), torch.get_rng_state().tolist()
        loaded = data.load_data({"_target_": "sweep.workload.data.own", "by": by})
        assert (random.getstate(), torch.get_rng_state().tolist()) == before
        parts = [set(split.inputs.flatten().tolist()) for split in (loaded.train, loaded.val)]
        assert len(parts[0]) == 40 and len(parts[1]) == 20 and not parts[0] & parts[1]
        random.random(), np.random.rand(), torch.rand(1)  # another process stands elsewhere
        data.load_once.cache_clear()
        again = data.load_data({"_target_": "sweep.workload.data.own", "by": by})
        assert again.sha256 == loaded.sha256
    data.load_once.cache_clear()


def test_numbers_that_are_no_classes_are_spoken_of(load):
    x = torch.randn(6, 2)
    with pytest.raises(BadInput, match=r"100000000001 classes .* for numbers, return floats"):
        load((x, torch.tensor([10**11, 1, 2, 3, 4, 5])))
    loaded = load((x, torch.tensor([29, 7, 0, 1, 3, 2])))
    assert "30 classes for 6 samples: for numbers, return floats" in loaded.warnings


def test_maps_of_classes_get_the_same_warnings(load):
    y = torch.tensor([[0, 1], [255, 1], [1, -100]])
    assert load((torch.randn(3, 2), y)).warnings == ("no sample is of class 2, 3, 4, 5, 6",)


def test_a_data_function_may_have_more_arguments_with_defaults(load):
    class Reader:
        def __call__(self, config, split, part=0.5):
            return torch.randn(6, 2), CLASSES

    assert data._takes_two(Reader()) and data._takes_two(lambda config, split, part=1: None)
    assert not data._takes_two(lambda config: None)
    assert not data._takes_two(lambda config, split, part: None)
