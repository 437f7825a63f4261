"""Models of one's own: what is built from a class and a config, and what is refused."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn
from torch.nn import functional as F

from models.mlp import MLP
from sweep.command.config import TrainConfig
from sweep.command.space import Axis, read_axis
from sweep.engine.inspection import try_out
from sweep.errors import BadInput
from sweep.workload.data import load_data
from sweep.workload.model import check_numbers, model_builder
from tests.conftest import MNIST5K

HERE = "tests.workload.test_model"
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


class Functional(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.rate, self.drop = config.dropout, nn.Identity()

    def forward(self, x):
        return super().forward(F.dropout(x, self.rate, self.training))


class Always(Functional):
    """Forgets to say whether it trains."""

    def forward(self, x):
        return Plain.forward(self, F.dropout(x, self.rate))


class Low(Plain):
    """Whose rate must be low; all that are searched here are but one."""

    def __init__(self, config):
        if config.dropout > 0.3:
            raise ArithmeticError("high")
        super().__init__(config)


class Late(Functional):
    """Drops from its fifth step on."""

    steps = 0

    def forward(self, x):
        self.steps += 1
        return Plain.forward(self, F.dropout(x, self.rate * (self.steps > 4), self.training))


class Subclass(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.drop = type("MyDropout", (nn.Dropout,), {})(config.dropout)


class Parallel(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.head = nn.DataParallel(self.head)


class Broken(Plain):
    def forward(self, x):
        return self.head(x)


class Mixing(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.BatchNorm1d(784, track_running_stats=False)

    def forward(self, x):
        return super().forward(self.norm(x.flatten(1)))


class Lazy(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.fc = nn.LazyLinear(config.units)


class Normed(Plain):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.BatchNorm1d(config.units)

    def forward(self, x):
        return self.head(self.norm(self.drop(self.fc(x.flatten(1)).relu())))


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


class ByKeyword(nn.Module):
    """Takes what it needs by name, as classes of libraries do."""

    def __init__(self, units, n_classes=10, dropout=0.1):
        super().__init__()
        net = nn.Linear(784, units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(units, n_classes)
        self.net = nn.Sequential(nn.Flatten(), *net)

    def forward(self, x):
        return self.net(x)


class Needy(ByKeyword):
    def __init__(self, units, heads, dropout):
        super().__init__(units, heads, dropout)


class Dry(ByKeyword):
    def __init__(self, units, n_classes):
        super().__init__(units, n_classes)


@dataclass
class Small:
    dropout: float = 0.0
    units: int = 8


class Dataclassed(Plain):
    """Its config knows neither the shape nor the classes of the data."""

    def __init__(self, config: Small):
        super().__init__(SimpleNamespace(**vars(config), n_classes=10))


DATA = load_data(MNIST5K)


def attempt(name, *keys):
    """Inspect a model of this file as a search of dropout, and of other rates, would."""
    model = {"_target_": f"{HERE}.{name}", "units": 8, **dict.fromkeys(keys, 0.0)}
    axes = [Axis(key, (0.0, 0.2, 0.5)) for key in ("dropout", *(f"model.{key}" for key in keys))]
    return try_out(model, axes, DATA, TrainConfig(batch_size=32))


def test_a_bare_config_object_is_enough():
    config = type("Config", (), {"dropout": 0.5, "input_dropout": 0.0})()
    config.depth, config.width, config.input_shape, config.n_classes = 1, 16, (1, 28, 28), 10
    assert MLP(config)(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_parameter_count():
    model = model_builder({**MLP_YAML, "width": 256}, 0.5, (1, 28, 28), 10)()
    assert sum(p.numel() for p in model.parameters()) == 269_322


def test_a_model_without_a_dataclass_gets_a_namespace():
    model = model_builder({"_target_": f"{HERE}.Plain", "units": 8}, 0.6, (1, 28, 28), 10)()
    assert model.drop.p == 0.3


@pytest.mark.parametrize(
    "name",
    [
        "Plain",
        "Unresolved",
        "Picky",
        "Functional",
        "Subclass",
        "Lazy",
        "ByKeyword",
        "Dataclassed",
        "Low",
        "Late",
        "Pair",
    ],
)
def test_models_as_people_write_them_are_taken(name):
    assert attempt(name) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "Deaf",
            r"the same at 0\.25 and 0\.75: the only dropout is dropout at rate 0\.25 \(tests/",
        ),
        ("Without", "dropout is searched, but .*: nothing drops"),
        ("Narrow", r"gives \(5,\) for a sample, not the 10 classes"),
        (
            "Always",
            r"drops in evaluation too: dropout at rate 0\.2 \(tests/workload/test_model\.py:",
        ),
        ("Parallel", "head is DataParallel: a model must be on one device"),
        ("Broken", r"model\.units=8: .* \(tests/workload/test_model\.py:\d+\)$"),
        ("Mute", r"model\.units=8: AssertionError \(tests/workload/test_model\.py:"),
        ("Leaver", "model.units=8: 5"),
        ("Bare", "has no parameter to train"),
        ("Needy", "needs heads, which the YAML does not set"),
        ("Dry", "takes no dropout"),
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
    with pytest.raises(BadInput, match=r"model\.dropout=0\.3: is searched"):
        model_builder(model, 0.5, (1, 28, 28), 10)


def test_a_rate_that_no_module_uses_is_refused():
    with pytest.raises(
        BadInput, match=r"model\.more_dropout is searched, but training is the same"
    ):
        attempt("Plain", "more_dropout")


def test_dropout_before_batch_normalisation_is_worth_a_warning():
    (warning,) = attempt("Normed")
    assert warning.startswith("dropout is before norm (BatchNorm1d)")
    (warning,) = attempt("Mixing")
    assert warning == "in evaluation the outputs for a sample depend on its batch"


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
        model_builder({**MLP_YAML, **change}, 0.5, (1, 28, 28), 10)


def test_both_ends_of_a_searched_number_are_checked():
    override = OverridesParser.create().parse_override("model.width=interval(0,64)")
    with pytest.raises(BadInput, match=r"model\.width=0: width must be at least 1"):
        check_numbers(MLP_YAML, [read_axis("model.width", override, 32)])
