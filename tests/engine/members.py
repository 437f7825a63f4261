"""Members of a population taken through a short training, to be compared with others."""

from types import SimpleNamespace

import torch
from torch import nn

from sweep.command.config import TrainConfig
from sweep.command.rate import built_rate
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import Population
from sweep.engine.proof import prove_way
from sweep.engine.setting import Candidates, Setting
from sweep.work import Way
from sweep.workload.data import Data
from sweep.workload.split import Split
from tests.conftest import DEVICE

RATES, SEEDS = (0.0, 0.3, 0.6), (0, 1)
PLAIN = Way("plain")


def split_in_two(x, y, n):
    """Return data whose first n samples are those of training; no split has less classes."""
    train, val = (Split(x[rows], y[rows]) for rows in (slice(n), slice(n, None)))
    return Data(train, train, val, "").to(DEVICE)


def setting(model: type[nn.Module], rate: float, config: TrainConfig, data: Data) -> Setting:
    given = {"n_classes": data.n_classes, "input_shape": data.input_shape}
    numbers = SimpleNamespace(dropout=rate, **given)
    return Setting(lambda: model(numbers), OptimizerNumbers(config.lr, config.weight_decay))


def settings(model, config, data, rates=RATES, zero=False):
    rates = rates if zero else map(built_rate, rates)
    return [setting(model, rate, config, data) for rate in rates]


def proven(model, config, data):
    """Return the way in which a model is trained, as a job finds it."""
    zero, at_zero = (setting(model, rate, config, data) for rate in (0.0, built_rate(0.0)))
    return prove_way(Candidates(settings(model, config, data), zero, at_zero), config, data, DEVICE)


def trained(each, seeds, config, data, way=PLAIN, dtype=torch.float64):
    """Train; return losses and errors (epochs, 3, K) and each member's state."""
    data = data.to(DEVICE, dtype)
    population = Population(each, seeds, config, DEVICE, dtype, way)
    curves = []
    for epoch in range(config.epochs):
        on = population.train_epoch(data.train, epoch)
        curves.append(
            torch.stack([on, *(t.to(dtype) for t in population.evaluate(data.val, epoch).values())])
        )
    population.check(data.val)
    members = [population.engine.member(k) for k in range(population.n_members)]
    return torch.stack(curves), [member.state_dict() for member in members]


def apart(one, other):
    """Return the largest distance of two trainings, relative to the size of each tensor."""
    (curves, states), (others, other_states) = one, other
    pairs = [(curves, others)]
    for mine, theirs in zip(states, other_states, strict=True):
        assert mine.keys() == theirs.keys()
        pairs += [(mine[name], theirs[name]) for name in mine]
    return max(distance(mine, theirs) for mine, theirs in pairs)


def distance(mine, theirs):
    assert mine.isfinite().all() and theirs.isfinite().all()
    size = theirs.double().abs().max().clamp(min=1.0)
    return ((mine - theirs).double().abs().max() / size).item()
