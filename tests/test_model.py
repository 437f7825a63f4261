"""Models of one's own: what is built from a class and a config, and what is refused."""

from types import SimpleNamespace

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn
from torch.nn import functional as F

from models.mlp import MLP
from sweep.config import BadInput
from sweep.inspection import try_out
from sweep.model import builder, check_numbers
from sweep.space import Axis, read_axis

HERE = "tests.test_model"
MLP_YAML = {"_target_": "models.mlp.MLP", "depth": 2, "width": 32}


class Plain(nn.Module):
    """A model whose config is whatever carries what it reads."""

    def __init__(self, config):
        super().__init__()
        self.fc = nn.Linear(784, config.units)
        self.drop = nn.Dropout(config.dropout / 2)
        self.head = nn.Linear(config.units, config.n_classes)

    def forward(self, x):
        return self.head(self.drop(self.fc(x.flatten(1)).relu()))


class Deaf(Plain):
    def __init__(self, config):
        super().__init__(SimpleNamespace(units=8, dropout=0.5, n_classes=10))


class Without(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.drop = nn.Identity()


class Spatial(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.more = nn.Dropout2d(config.dropout)


class Functional(Plain):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.1, self.training))


class Sdpa(Plain):
    def forward(self, x):
        x = F.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0.0)
        return super().forward(x)


class Noisy(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.relu = nn.Sequential(nn.Identity(), nn.RReLU())

    def forward(self, x):
        return super().forward(self.relu(x))


class Subclass(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.drop = type("MyDropout", (nn.Dropout,), {})(config.dropout)


class Normed(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.BatchNorm1d(config.units)

    def forward(self, x):
        return self.head(self.norm(self.drop(self.fc(x.flatten(1)).relu())))


class Counting(Plain):
    steps = 0

    def forward(self, x):
        self.steps += 1
        return super().forward(x) / self.steps


class Narrow(Plain):
    def forward(self, x):
        return super().forward(x)[:, :5]


class Mute(Plain):
    def __init__(self, config):
        raise AssertionError


class Leaver(Plain):
    def __init__(self, config):
        raise SystemExit(5)


class Pair(Plain):
    def forward(self, x):
        return super().forward(x), x


class Bare(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x):
        return self.drop(x.flatten(1)[:, :10])


class Unresolved(Plain):
    def __init__(self, config: "NameForTypeCheckersOnly"):  # noqa: F821
        super().__init__(config)


class Picky(Plain):
    """Cannot be built at some rates, which fail by themselves where they are searched."""

    def __init__(self, config):
        if config.dropout < 0.3:
            raise ArithmeticError("low")
        super().__init__(config)


def attempt(name, *keys):
    """Inspect a model of this file as a search of dropout, and of other rates, would."""
    model = {"_target_": f"{HERE}.{name}", "units": 8, **dict.fromkeys(keys, 0.0)}
    axes = [Axis(key, (0.0, 0.5)) for key in ("dropout", *(f"model.{key}" for key in keys))]
    return try_out(model, axes, input_shape=(1, 28, 28), n_classes=10)


def test_a_bare_config_object_is_enough():
    config = type("Config", (), {"dropout": 0.5, "input_dropout": 0.0})()
    config.depth, config.width, config.input_shape, config.n_classes = 1, 16, (1, 28, 28), 10
    assert MLP(config)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_parameter_count():
    model = builder({**MLP_YAML, "width": 256}, 0.5, (1, 28, 28), 10)()
    assert sum(p.numel() for p in model.parameters()) == 269_322


def test_a_model_without_a_dataclass_gets_a_namespace():
    model = builder({"_target_": f"{HERE}.Plain", "units": 8}, 0.6, (1, 28, 28), 10)()
    assert model.drop.p == 0.3
    attempt("Plain")
    attempt("Unresolved")
    attempt("Picky")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Deaf", "dropout is searched, but nothing in the model uses it"),
        ("Without", r"no nn\.Dropout"),
        ("Spatial", r"more is Dropout2d"),
        ("Narrow", r"gives \(5,\) for a sample, not the 10 classes"),
        ("Functional", r"the model \(Functional\) draws random numbers \(aten.bernoulli_\)"),
        ("Sdpa", r"the model \(Sdpa\) draws random numbers"),
        ("Noisy", r"relu\.1 \(RReLU\) draws random numbers"),
        ("Subclass", r"drop is MyDropout"),
        ("Counting", r"forward changes steps, which all members would share; keep it in a buffer"),
        ("Mute", "model.units=8: AssertionError"),
        ("Leaver", "model.units=8: 5"),
        ("Pair", "gives a tuple, not a tensor"),
        ("Bare", "has no parameter to train"),
        ("Missing", "cannot be imported"),
        ("attempt", r"must be a subclass of torch\.nn\.Module"),
    ],
)
def test_models_that_cannot_be_searched_are_refused(name, complaint):
    with pytest.raises(BadInput, match=complaint) as caught:
        attempt(name)
    assert "\n" not in str(caught.value)


def test_the_rate_belongs_in_no_yaml():
    model = {"_target_": f"{HERE}.Plain", "units": 8, "dropout": 0.3}
    with pytest.raises(BadInput, match=r"model\.dropout=0\.3: is what is searched"):
        builder(model, 0.5, (1, 28, 28), 10)


def test_a_rate_that_no_module_uses_is_refused():
    with pytest.raises(
        BadInput, match=r"model\.more_dropout is searched, but nothing in the model"
    ):
        attempt("Plain", "more_dropout")


def test_dropout_before_batch_normalisation_is_worth_a_warning():
    (warning,) = attempt("Normed")
    assert warning.startswith("dropout stands before norm (BatchNorm1d)")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"width": "abc"}, "model.width=abc: must be a whole number"),
        ({"width": 2.5}, "model.width=2.5: must be a whole number"),
        ({"wdith": 3}, "'wdith' not in 'MLPConfig'"),
    ],
)
def test_the_dataclass_beside_the_model_is_its_schema(change, complaint):
    with pytest.raises(BadInput, match=complaint):
        builder({**MLP_YAML, **change}, 0.5, (1, 28, 28), 10)


def test_both_ends_of_a_searched_number_are_checked():
    override = OverridesParser.create().parse_override("model.width=interval(0,64)")
    with pytest.raises(BadInput, match=r"model\.width=0: width must be at least 1"):
        check_numbers(MLP_YAML, [read_axis("model.width", override, 32)])
