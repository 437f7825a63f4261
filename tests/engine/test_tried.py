"""What a model is tried on before anything is written: batches, axes, losses, random rates."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sweep.command.config import TrainConfig
from sweep.command.space import Axis
from sweep.engine.guess import constant_guess
from sweep.engine.inspection import try_out
from sweep.engine.objective import finish_outcomes, loss_of, outcomes_of
from sweep.errors import BadInput
from sweep.workload.data import Data
from sweep.workload.split import Split

HERE = "tests.engine.test_tried"
RATE = [Axis("dropout", low=0.0, high=0.8)]
CROSS = TrainConfig(batch_size=8, loss="cross_entropy")


class Normed(nn.Module):
    """Has batch normalisation, which no batch of one sample can pass in training."""

    def __init__(self, config):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(config.dropout)
        self.head = nn.Linear(4, config.n_classes)

    def forward(self, x):
        return self.head(self.drop(self.norm(x)))


class Skipping(nn.Module):
    """Skips a whole layer with the rate's chance, by one number of torch's, python's or numpy's."""

    def __init__(self, config):
        super().__init__()
        self.fixed = nn.ModuleList([nn.Dropout(0.1) for _ in range(config.before)])
        self.layer, self.rate = nn.Linear(4, 4), config.dropout
        self.head = nn.Linear(4, config.n_classes)

    def forward(self, x):
        for drop in self.fixed:
            x = drop(x)
        if not self.training or torch.rand([]) >= self.rate:
            x = x + self.layer(x)
        return self.head(x)


class Packed(nn.Module):
    """Has a lazy layer behind one that fails on lengths of 0."""

    def __init__(self, config):
        super().__init__()
        self.embed, self.gru = nn.Embedding(5, 6), nn.GRU(6, 6, batch_first=True)
        self.drop, self.head = nn.Dropout(config.dropout), nn.LazyLinear(config.n_classes)

    def forward(self, ids):
        lengths = (ids > 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        return self.head(self.drop(self.gru(packed)[1][0]))


class Mapping(nn.Module):
    """Gives scores of classes for each place: on the second axis, or on the last."""

    def __init__(self, config):
        super().__init__()
        self.score, self.drop = nn.Linear(1, config.n_classes), nn.Dropout(config.dropout)
        self.axis = config.axis

    def forward(self, x):
        return self.drop(self.score(x[..., None])).movedim(-1, self.axis)


def data(x, y):
    split = Split(x, y)
    return Data(split, split, split, "")


def tried(model, samples, config=CROSS, **numbers):
    return try_out({"_target_": f"{HERE}.{model}", **numbers}, RATE, samples, config)


def test_a_last_batch_on_which_the_model_fails_is_refused():
    x, y = torch.randn(17, 4), torch.arange(17) % 2
    message = "train.batch_size=8: the last batch has 1 of 17 samples, on which the model fails"
    with pytest.raises(BadInput, match=message):
        tried("Normed", data(x, y))
    assert len(tried("Normed", data(x[:16], y[:16]))) <= 1
    assert len(tried("Normed", data(x, y), TrainConfig(batch_size=17, loss="cross_entropy"))) <= 1


def test_an_optimiser_that_cannot_take_the_gradients_is_refused(monkeypatch):
    class Sparse(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.embed = nn.Embedding(5, config.n_classes, sparse=True)
            self.drop = nn.Dropout(config.dropout)

        def forward(self, ids):
            return self.drop(self.embed(ids).mean(1))

    monkeypatch.setitem(globals(), "Sparse", Sparse)
    samples = data(torch.arange(32).view(8, 4) % 5, torch.arange(8) % 2)
    sgd = {"batch_size": 8, "optimizer": "sgd", "loss": "cross_entropy"}
    with pytest.raises(BadInput, match="sparse"):
        tried("Sparse", samples, TrainConfig(**sgd, weight_decay=0.1))
    assert tried("Sparse", samples, TrainConfig(**sgd, weight_decay=0.0)) == []


@pytest.mark.parametrize("before", range(7))
def test_a_rate_that_skips_a_layer_now_and_then_is_a_rate(before):
    samples = data(torch.randn(8, 4), torch.arange(8) % 2)
    assert tried("Skipping", samples, before=before) == []


def test_lazy_layers_are_made_on_real_samples():
    ids = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0]] * 4)
    assert tried("Packed", data(ids, torch.arange(8) % 2)) == []


@pytest.mark.parametrize(
    ("shape", "n", "axis", "taken", "warns"),
    [
        ((6,), 3, 1, 1, False),
        ((6,), 3, -1, 2, False),
        ((6,), 6, -1, 2, True),
        ((3, 6), 3, -1, 3, False),  # the second axis has as many places as there are classes
        ((6, 6), 6, 1, 1, True),
        ((4, 6), 4, 1, 1, False),
    ],
)
def test_the_class_axis_is_the_second_or_the_last(shape, n, axis, taken, warns):
    x = torch.randn(8, *shape)
    y = torch.arange(x.numel()).view(x.shape) % n
    warnings = tried("Mapping", data(x, y), axis=axis)
    assert [f"axis {taken} is taken" in line for line in warnings] == [True] * warns
    outputs = torch.randn(8, *shape, n).movedim(-1, axis)
    expected = F.cross_entropy(outputs.movedim(taken, 1), y)
    torch.testing.assert_close(loss_of(outputs, y, CROSS), expected)
    other = TrainConfig(batch_size=8, loss="cross_entropy", class_axis=taken)
    assert tried("Mapping", data(x, y), other, axis=axis) == []


def test_a_class_axis_that_is_none_is_refused():
    samples = data(torch.randn(8, 4), torch.arange(8) % 2)
    config = TrainConfig(batch_size=8, loss="cross_entropy", class_axis=2)
    with pytest.raises(BadInput, match=r"train\.class_axis=2: must be 1 here"):
        tried("Skipping", samples, config, before=0)


def broken_loss(outputs, targets):
    raise ArithmeticError("no such thing")


def test_a_loss_of_ones_own_that_fails_is_named():
    samples = data(torch.randn(8, 4), torch.arange(8) % 2)
    config = TrainConfig(batch_size=8, loss=f"{HERE}.broken_loss")
    with pytest.raises(BadInput, match=r"^train\.loss=tests\.engine\.test_tried\.broken_loss: no"):
        tried("Skipping", samples, config, before=0)


def test_a_constant_guess_is_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (90,), generator=generator) ** 2 % 3
    logits = (classes.bincount().double() / 90).log().expand(90, -1)
    guess = constant_guess(torch.cat([classes, torch.tensor([-100])]), CROSS)
    assert guess["val_loss"] == pytest.approx(F.cross_entropy(logits, classes).item())
    wrong = (classes != classes.mode().values).float().mean().item()
    assert guess["val_error"] == pytest.approx(wrong)
    floats = torch.randn(50, 2, generator=generator)
    guess = constant_guess(floats, TrainConfig(loss="mse"))
    loss = F.mse_loss(floats.mean(0).expand(50, -1), floats).item()
    assert guess == {
        "val_loss": pytest.approx(loss), "val_rmse": pytest.approx(math.sqrt(loss))
    }  # fmt: skip
    labels = (floats > 0.5).float()
    guess = constant_guess(labels, TrainConfig(loss="bce"))
    part = labels.mean(0)
    logit = (part / (1 - part)).log().expand(50, -1)
    loss = F.binary_cross_entropy_with_logits(logit, labels).item()
    assert guess["val_loss"] == pytest.approx(loss, rel=1e-5)
    wrong = ((logit > 0) != labels.bool()).float().mean().item()
    assert guess["val_wrong_labels"] == pytest.approx(wrong)
    assert constant_guess(labels, TrainConfig(loss="mine.own")) == {}


class Single(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.head, self.drop = nn.Linear(4, 1), nn.Dropout(config.dropout)

    def forward(self, x):
        return self.drop(self.head(x))


def poisson(outputs, targets):
    return F.poisson_nll_loss(outputs[:, 0], targets.float(), reduction="none")


def test_outputs_that_are_no_classes_have_no_error():
    y = torch.arange(8) % 3
    samples, config = data(torch.randn(8, 4), y), TrainConfig(batch_size=8, loss=f"{HERE}.poisson")
    assert tried("Single", samples, config) == []
    outputs = torch.randn(8, 1)
    assert set(finish_outcomes(outcomes_of(outputs, y, config).sum(-1, keepdim=True), "error")) == {
        "loss"
    }
    model = {"_target_": f"{HERE}.Single"}
    with pytest.raises(BadInput, match=r"study\.metric=val_error: must be val_loss here"):
        try_out(model, RATE, samples, config, "val_error")


def test_soft_labels_are_right_on_their_side_of_a_half():
    labels = torch.tensor([[0.1, 0.9], [0.4, 0.6]])
    outputs = torch.tensor([[-1.0, 1.0], [-1.0, -1.0]])
    config = TrainConfig(loss="bce")
    done = finish_outcomes(
        outcomes_of(outputs, labels, config).sum(-1, keepdim=True), "wrong_labels"
    )
    assert done["wrong_labels"].item() == 0.25


@pytest.mark.parametrize("batch_size", [1, 8])
def test_one_number_a_sample_is_taken_with_any_batch(batch_size):
    samples = data(torch.randn(8, 4), torch.randn(8))
    assert tried("Single", samples, TrainConfig(batch_size=batch_size, loss="mse")) == []


OWN = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("augment", "refused"),
    [
        (lambda x: x + torch.randn_like(x), False),
        (lambda x: x + np.random.rand(), False),
        (lambda x: x + OWN.random(), True),
        (lambda x: x + np.random.default_rng().random(), True),
        (lambda x: x + x[7], True),  # fails on the last batch, which is smaller
    ],
)
def test_an_augmentation_draws_from_what_is_seeded(augment, refused):
    split = Split(torch.randn(12, 4), torch.arange(12) % 2, augment=augment)
    samples = replace(data(split.inputs, split.targets), train=split)
    if not refused:
        assert tried("Skipping", samples, before=0) == []
        return
    with pytest.raises(BadInput, match=r"data\.augment="):
        tried("Skipping", samples, before=0)
