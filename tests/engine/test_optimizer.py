"""Optimisers, clipping and warm-up against the loop that anybody would write, in float64."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.mlp import MLP, MLPConfig
from sweep.command.config import TrainConfig
from sweep.engine.noise import order_and_keys
from sweep.engine.optimizer import OptimizerNumbers, StackedOptimizer
from sweep.engine.population import FUSED, Population
from sweep.engine.schedule import Schedule
from sweep.engine.setting import Setting
from tests.conftest import DEVICE
from tests.engine.members import PLAIN, proven, split_in_two

EPOCHS, STEPS = 3, 10  # in each epoch of 1000 samples
SEEDS = [3, 7]
ways = pytest.mark.parametrize("way", ["plain", "fused", "parts"])
SGD = {"optimizer": "sgd"}
MOMENTUM = {**SGD, "momentum": 0.9}
NESTEROV = {**MOMENTUM, "nesterov": True}
ADAMWS_NUMBERS = [(1e-3, 0.0), (1e-2, 0.01), (3e-3, 0.5)]  # lr and weight decay of each trial
SGDS_NUMBERS = [(0.01, 0.0), (0.3, 1e-3), (0.1, 0.1)]
CASES = {
    "adamw clipped": {"clip_norm": 1.5},
    "sgd": SGD,
    "sgd clipped": {**SGD, "clip_norm": 0.7},
    "momentum": MOMENTUM,
    "nesterov": NESTEROV,
    "nesterov clipped and warmed up": {**NESTEROV, "clip_norm": 0.7, "warmup": 1.0},
    "warm-up": {"warmup": 1.5},
    "a part of an epoch, then cosine": {"warmup": 0.5, "schedule": "cosine"},
    "momentum and all else": {**MOMENTUM, "clip_norm": 1.0, "warmup": 1.0, "schedule": "cosine"},
}


class Odd(MLP):
    """Has a frozen weight, one that is not reached, one number, and two with one gradient."""

    def __init__(self, config):
        super().__init__(config)
        self.one, self.two = (nn.Parameter(torch.zeros(10)) for _ in range(2))
        self.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(10), requires_grad=False)
        self.unused = nn.Parameter(torch.full((5,), 100.0))

    def forward(self, x):
        return super().forward(x) * self.scale + self.one + self.two + self.frozen


def built(model):
    return model(MLPConfig(width=16))


def population(numbers, way="fused", model=MLP, seeds=SEEDS, dtype=torch.float64, **train):
    settings = [Setting(lambda: built(model), OptimizerNumbers(*own)) for own in numbers]
    config = TrainConfig(**{"batch_size": 100, "epochs": EPOCHS, **train})
    kind = PLAIN if way == "plain" else FUSED
    members = Population(settings, seeds, config, DEVICE, dtype, kind)
    if way == "parts":
        members.engine._probe = lambda x, y: 2
    return members


def schedule_of(optimizer, config):
    """Return torch's own schedulers of a step, put one after another."""
    first, total = round(config.warmup * STEPS), config.epochs * STEPS
    if not first:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / first, 1.0, first - 1)
    rest = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    if config.schedule == "cosine":
        rest = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - first)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [linear, rest], [first])


def loop(seed, data, numbers, config, model=MLP):
    """Train one network as anybody would; return it, and whether each step was clipped."""
    torch.manual_seed(seed)
    model = built(model).to(DEVICE, torch.float64)
    given = {"lr": numbers[0], "weight_decay": numbers[1]}
    if config.optimizer == "sgd":
        given |= {"momentum": config.momentum, "nesterov": config.nesterov}
        optimizer = torch.optim.SGD(model.parameters(), **given)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), **given)
    with warnings.catch_warnings(action="ignore"):  # SequentialLR makes use of what torch gives up
        scheduler = schedule_of(optimizer, config)
    clipped = []
    for epoch in range(config.epochs):
        order, _ = order_and_keys(seed, epoch, len(data.train), config.batch_size)
        for rows in order.to(DEVICE).split(config.batch_size):
            x, y = data.train[rows]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            if config.clip_norm:
                norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                clipped.append(bool(norm > config.clip_norm))
            optimizer.step()
            with warnings.catch_warnings(action="ignore"):
                scheduler.step()
    return model, clipped


def compare(members, data, numbers, model=MLP):
    """Compare each member's weights with the loop's; return how many were clipped in each step."""
    clipped = []
    for k in range(members.n_members):
        trial, seed = divmod(k, len(SEEDS))
        plain, was = loop(SEEDS[seed], data, numbers[trial], members.config, model)
        clipped.append(was)
        ours = dict(members.engine.member(k).named_parameters())
        for name, weight in plain.named_parameters():
            torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-10)
    return [sum(step) for step in zip(*clipped, strict=True)]


@ways
@pytest.mark.parametrize("train", CASES.values(), ids=CASES)
def test_training_is_that_of_a_loop_with_torchs_optimiser(digits, way, train):
    numbers = SGDS_NUMBERS if "optimizer" in train else ADAMWS_NUMBERS
    members = population(numbers, way, **train)
    for epoch in range(EPOCHS):
        members.train_epoch(digits.train, epoch)
    clipped = compare(members, digits, numbers)
    if "clip_norm" in train:  # which bites some members only
        assert any(0 < n < members.n_members for n in clipped)


@ways
def test_clipping_takes_the_gradients_that_there_are(digits, way):
    train = {**MOMENTUM, "clip_norm": 0.5}
    members = population(SGDS_NUMBERS, way, Odd, **train)
    for epoch in range(EPOCHS):
        members.train_epoch(digits.train, epoch)
    assert any(compare(members, digits, SGDS_NUMBERS, Odd))


class Late(MLP):
    """Reaches a weight after some steps only."""

    def __init__(self, config):
        super().__init__(config)
        self.late, self.calls = nn.Parameter(torch.ones(10)), 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (self.late if self.calls > 4 else 1.0)


def test_a_weight_that_is_reached_later_has_torchs_momentum(digits):
    members = population(SGDS_NUMBERS, "plain", Late, **NESTEROV)
    for epoch in range(EPOCHS):
        members.train_epoch(digits.train, epoch)
    compare(members, digits, SGDS_NUMBERS, Late)


@pytest.mark.parametrize("same", [True, False], ids=["one lr", "an lr each"])
@ways
def test_who_stays_keeps_momentum_and_warm_up(digits, way, same):
    numbers = [(0.1, 0.01)] * 3 if same else SGDS_NUMBERS
    members = population(numbers, way, **NESTEROV, warmup=2.0, clip_norm=1.0)
    members.train_epoch(digits.train, 0)
    members.select([1, 2])
    for epoch in (1, 2):
        members.train_epoch(digits.train, epoch)
    compare(members, digits, numbers[1:])


def test_warm_up_moves_in_each_step_and_all_else_once_an_epoch():
    def factors(n_steps, **train):
        schedule = Schedule(TrainConfig(**train))
        for _ in range(train["epochs"]):
            schedule.begin_epoch(n_steps)
            yield from map(schedule.factor, range(n_steps))
            schedule.end_epoch()

    assert [*factors(2, epochs=2)] == [1, 1, 1, 1]
    assert [*factors(2, epochs=2, warmup=1.0)] == [0.5, 1, 1, 1]
    half = (1 + math.cos(math.pi / 2)) / 2
    assert [*factors(2, epochs=2, schedule="cosine")] == [1, 1, half, half]
    short = [*factors(10, epochs=1, warmup=0.25, schedule="cosine")]
    assert short[:3] == [0.4, 0.8, 1]  # 2.5 steps, of which half a one is left
    falling = [(1 + math.cos(math.pi * (step - 2.5) / 7.5)) / 2 for step in range(3, 10)]
    assert short[3:] == pytest.approx(falling, abs=1e-15)
    assert [*factors(10, epochs=1, warmup=0.01)] == [1] * 10


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_clipping_many_members_is_clipping_each(dtype):
    shapes, n = {"a": (7, 5), "b": (), "c": (3,), "none": (4,), "empty": (0, 2)}, 6
    draw = torch.Generator().manual_seed(0)
    types = {"a": dtype, "c": torch.promote_types(dtype, torch.float32)}
    gradients = {
        name: (torch.rand(n, *shape, generator=draw) - 0.5).to(DEVICE, types.get(name, dtype))
        for name, shape in shapes.items()
    }
    gradients["a"] *= torch.arange(n).to(DEVICE, dtype)[:, None, None]
    gradients["c"][3, 0] = math.inf
    gradients["b"][4] = math.nan
    params = {name: torch.zeros_like(gradient) for name, gradient in gradients.items()}
    config = TrainConfig(**SGD, clip_norm=2.0)
    optimizer = StackedOptimizer(params, [OptimizerNumbers(1.0, 0.0)], config)
    optimizer.accumulate(slice(None), {**gradients, "none": None})
    optimizer._clip(2.0)
    assert not params["a"].any() and "none" not in optimizer.gradients
    for k in range(n):
        plain = {name: torch.nn.Parameter(torch.zeros_like(t[k])) for name, t in params.items()}
        for name in gradients.keys() - {"none"}:
            plain[name].grad = gradients[name][k].clone()
        nn.utils.clip_grad_norm_(plain.values(), 2.0)
        for name in gradients.keys() - {"none"}:
            mine, close = optimizer.gradients[name][k], torch.finfo(dtype).eps
            expected = plain[name].grad
            torch.testing.assert_close(mine, expected, rtol=2 * close, atol=0, equal_nan=True)


@pytest.mark.parametrize("train", [MOMENTUM, {}], ids=["sgd", "adamw"])
def test_clipped_nan_member_leaves_the_others_bit_equal(digits32, train):
    healthy, ill = (
        population(SGDS_NUMBERS, dtype=torch.float32, **train, clip_norm=1.0) for _ in range(2)
    )
    with torch.no_grad():
        for param in ill.engine.params.values():
            param[2] = math.nan
    for members in (healthy, ill):
        members.train_epoch(digits32.train, 0)
    expected, losses = (each.evaluate(digits32.val)["loss"] for each in (healthy, ill))
    assert losses[2].isnan() and torch.equal(losses[[0, 1, 3, 4, 5]], expected[[0, 1, 3, 4, 5]])


# ---- the proof


class Small(nn.Sequential):
    def __init__(self, config):
        drop = nn.Dropout(config.dropout)
        super().__init__(nn.Linear(6, 16), nn.ReLU(), drop, nn.Linear(16, config.n_classes))


@pytest.fixture
def data():
    draw = torch.Generator().manual_seed(0)
    return split_in_two(torch.randn(80, 6, generator=draw), torch.arange(80) % 3, 64)


def clip_all_together(self, clip_norm):
    whole = math.hypot(*(gradient.norm().item() for gradient in self.gradients.values()))
    factor = min(1.0, clip_norm / (whole + 1e-6))
    self.gradients = {name: factor * gradient for name, gradient in self.gradients.items()}


@pytest.mark.parametrize("train", [NESTEROV, {}], ids=["nesterov", "adamw"])
def test_proof_holds_and_finds_clipping_over_all_members_together(data, train, monkeypatch):
    config = TrainConfig(batch_size=16, epochs=2, lr=0.1, clip_norm=0.5, warmup=1.0, **train)
    assert proven(Small, config, data).kind == "fused"
    monkeypatch.setattr(StackedOptimizer, "_clip", clip_all_together)
    way = proven(Small, config, data)
    assert way.kind == "plain" and "the weight" in way.why
