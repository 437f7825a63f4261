"""The population against plain PyTorch, and against itself in other company.

What is compared with is a plain loop over plain modules; only the order of the samples is shared.
"""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.mlp import MLP, MLPConfig
from sweep.command.config import TrainConfig
from sweep.engine.augment import KEY
from sweep.engine.noise import order_and_keys
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import FUSED, Population
from sweep.engine.setting import Setting
from sweep.errors import Differs
from sweep.work import Way
from tests.conftest import DEVICE

RATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def setting(rate, lr=1e-3, weight_decay=0.01, width=32, model=MLP):
    config = MLPConfig(dropout=rate, width=width)
    return Setting(lambda: model(config), OptimizerNumbers(lr, weight_decay))


PLAIN = Way("plain")
either_way = pytest.mark.parametrize("way", [PLAIN, FUSED], ids=["plain", "fused"])


def population(settings, seeds, dtype=torch.float64, way=FUSED, **train):
    config = TrainConfig(**{"batch_size": 100, **train})
    return Population(settings, seeds, config, DEVICE, dtype, way)


def weights(members):
    """Return the weights of each member, by name."""
    each = [members.engine.member(k) for k in range(members.n_members)]
    return [dict(model.named_parameters()) for model in each]


def curves(settings, seeds, data, epochs=3, first_epoch=0, dtype=torch.float64, way=FUSED):
    """Validation losses (epochs, P, S)."""
    members = population(settings, seeds, dtype, way)
    out = []
    for epoch in range(first_epoch, first_epoch + epochs):
        members.train_epoch(data.train, epoch)
        out.append(members.evaluate(data.val)["loss"].view(len(settings), len(seeds)))
    return torch.stack(out)


def plain_loop(
    seed, data, epochs, dtype, rate=0.0, lr=1e-3, weight_decay=0.01, batch_size=100, model=MLP
):
    """Train one network as anybody would; return it with its validation loss after each epoch."""
    torch.manual_seed(seed)
    model = model(MLPConfig(dropout=rate, width=32)).to(DEVICE, dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    losses = []
    for epoch in range(epochs):
        order, _ = order_and_keys(seed, epoch, len(data.train), batch_size)
        model.train()
        for rows in order.to(DEVICE).split(batch_size):
            x, y = data.train[rows]
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            x, y = data.val[torch.arange(len(data.val), device=DEVICE)]
            losses.append(F.cross_entropy(model(x), y).item())
    return model, losses


@either_way
def test_rate_0_member_of_a_mixed_population_is_the_plain_network(digits, way):
    members = population([setting(r) for r in (0.5, 0.0, 0.8)], seeds=[3, 7], way=way)
    for epoch in range(10):  # 100 steps
        members.train_epoch(digits.train, epoch)
    losses = members.evaluate(digits.val)["loss"].view(3, 2)
    for i, seed in enumerate((3, 7)):
        model, plain = plain_loop(seed, digits, 10, torch.float64)
        assert abs(losses[1, i].item() - plain[-1]) < 1e-10
        for name, weight in model.named_parameters():
            ours = weights(members)[2 + i][name]
            torch.testing.assert_close(ours, weight, rtol=0, atol=1e-10)


def test_each_epoch_has_an_order_of_its_own():
    orders = [order_and_keys(3, epoch, 1000, 100)[0] for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    fixed = [(a == b).sum().item() for a, b in itertools.pairwise(orders)]
    assert max(fixed) < 10  # one on average


@either_way
def test_each_step_of_each_seed_is_augmented_with_its_own_numbers(digits, way):
    drawn, seeds, n = [], [0, 5], len(digits.train)

    def noisy(x):
        drawn.append(torch.rand(3))
        return x + drawn[-1][0]

    train = replace(digits.train, augment=noisy)
    population([setting(0.0), setting(0.5)], seeds, way=way).train_epoch(train, epoch=2)
    of_seeds = [order_and_keys(seed, 2, n, 100)[1].tolist() for seed in seeds]
    expected = []
    for key in itertools.chain(*zip(*of_seeds, strict=True)):  # step by step, whatever the rates
        torch.manual_seed((key ^ KEY) % 2**32)
        expected.append(torch.rand(3))
    assert torch.equal(torch.stack(drawn), torch.stack(expected))
    assert len(drawn) == 2 * math.ceil(n / 100)


@either_way
def test_training_loss_is_the_mean_over_samples_before_each_step(digits, way):
    members = population([setting(r) for r in (0.0, 0.5)], seeds=[3], way=way, batch_size=96)
    (ours, with_dropout) = members.train_epoch(digits.train, 0)
    torch.manual_seed(3)
    model = MLP(MLPConfig(width=32)).to(DEVICE, torch.float64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    total = 0.0
    for rows in order_and_keys(3, 0, 1000, 96)[0].to(DEVICE).split(96):  # the last has 40
        x, y = digits.train[rows]
        loss = F.cross_entropy(model(x), y)
        total += loss.item() * len(rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ours.item() == pytest.approx(total / 1000, abs=1e-10)
    assert with_dropout > ours


def test_rate_0_member_in_float32(digits32):
    members = population([setting(r) for r in (0.5, 0.0)], seeds=[3], dtype=torch.float32)
    for epoch in range(10):
        members.train_epoch(digits32.train, epoch)
    _, plain = plain_loop(3, digits32, 10, torch.float32)
    assert abs(members.evaluate(digits32.val)["loss"][1].item() - plain[-1]) < 1e-3


@either_way
def test_learning_rate_and_weight_decay_are_the_trials_own(digits, way):
    numbers = [(1e-3, 0.01), (1e-2, 0.01), (3e-3, 0.5)]
    members = population([setting(0.0, lr, decay) for lr, decay in numbers], seeds=[0, 1], way=way)
    for epoch in range(3):
        members.train_epoch(digits.train, epoch)
    losses = members.evaluate(digits.val)["loss"].view(3, 2)
    for p, (lr, decay) in enumerate(numbers):
        for seed in (0, 1):
            _, plain = plain_loop(seed, digits, 3, torch.float64, lr=lr, weight_decay=decay)
            assert abs(losses[p, seed].item() - plain[-1]) < 1e-10


@either_way
def test_cosine_schedule_is_torchs(digits, way):
    members = population([setting(0.0)], seeds=[0], way=way, schedule="cosine", epochs=4)
    engine = members.engine
    adamw = engine.optimizers[0] if way is PLAIN else engine.optimizer.inner
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    for epoch in range(4):
        members.train_epoch(digits.train, epoch)
        assert math.isclose(adamw.param_groups[0]["lr"], oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


@either_way
@pytest.mark.parametrize("seeds", [[4], [4, 0, 9], [0, 9, 4, 2, 5]])
def test_curve_does_not_depend_on_company(digits, seeds, way):
    far = {"rtol": 0, "atol": 1e-10 if way is FUSED else 0}
    alone = curves([setting(0.3)], [4], digits, way=way)[:, 0, 0]
    mixed = curves([setting(r) for r in RATES], seeds, digits, way=way)
    torch.testing.assert_close(mixed[:, 3, seeds.index(4)], alone, **far)
    order = [5, 3, 0, 7, 1, 6, 2, 4]
    shuffled = curves([setting(RATES[i]) for i in order], seeds[::-1], digits, way=way)
    place = order.index(3), seeds[::-1].index(4)
    torch.testing.assert_close(shuffled[:, place[0], place[1]], alone, **far)


@either_way
def test_same_population_again_is_equal_to_the_last_bit(digits32, way):
    many = [setting(r) for r in RATES]
    one, two = (curves(many, [0, 1, 2], digits32, dtype=torch.float32, way=way) for _ in range(2))
    assert torch.equal(one, two)


@either_way
def test_nan_member_leaves_the_others_bit_equal(digits32, way):
    settings = [setting(r) for r in (0.0, 0.2, 0.4)]
    healthy, ill = (population(settings, [0, 1], torch.float32, way) for _ in range(2))
    with torch.no_grad():
        if way is PLAIN:
            for param in ill.engine.models[2].parameters():
                param[:] = math.nan
        else:
            for param in ill.engine.params.values():
                param[2] = math.nan
    for epoch in range(2):
        healthy.train_epoch(digits32.train, epoch)
        ill.train_epoch(digits32.train, epoch)
    expected, losses = (each.evaluate(digits32.val)["loss"] for each in (healthy, ill))
    assert losses[2].isnan()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(losses[others], expected[others])
    for k in others:
        for name, param in weights(ill)[k].items():
            assert torch.equal(param, weights(healthy)[k][name])


def test_mean_over_seeds_agrees_with_plain_dropout(digits32):
    """Training with our masks and with nn.Dropout's own differs by no more than chance allows."""
    seeds = list(range(200))
    data, rate = digits32, 0.5
    ours = curves([setting(rate)], seeds, data, epochs=2, dtype=torch.float32)[-1, 0]
    plain = [plain_loop(s, data, 2, torch.float32, rate=rate)[1][-1] for s in seeds]
    differences = ours.cpu() - torch.tensor(plain)
    sem = differences.std() / math.sqrt(len(seeds))
    assert abs(differences.mean()) < 3 * sem
    assert sem < 0.02 * ours.cpu().mean()  # or the line above could not fail


class Normed(MLP):
    """A network with buffers that change while it trains."""

    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.BatchNorm1d(784)

    def forward(self, x):
        return super().forward(self.norm(x.flatten(1)))


@either_way
def test_buffers_are_the_members_own(digits, way):
    settings = [setting(rate, model=Normed) for rate in (0.0, 0.5)]
    members = population(settings, [2, 3], way=way)
    for epoch in range(2):
        members.train_epoch(digits.train, epoch)
    losses = members.evaluate(digits.val)["loss"].view(2, 2)
    plain_model, plain = plain_loop(3, digits, 2, torch.float64, model=Normed)
    assert abs(losses[0, 1].item() - plain[-1]) < 1e-10
    for name, buffer in plain_model.named_buffers():
        ours = dict(members.engine.member(1).named_buffers())[name]
        torch.testing.assert_close(ours, buffer, rtol=0, atol=1e-10)
    single = curves([setting(0.5, model=Normed)], [3], digits, epochs=2, way=way)[-1, 0, 0]
    assert abs(losses[1, 1] - single) < 1e-10


def test_parts_and_members_one_by_one_give_the_numbers_of_the_whole(digits):
    settings = [setting(rate) for rate in (0.0, 0.3, 0.5)]
    whole, parts = (population(settings, [2, 3]) for _ in range(2))
    one_by_one = population(settings, [2, 3], way=PLAIN)
    parts.engine._probe = lambda x, y: 4
    losses = [members.train_epoch(digits.train, 0) for members in (whole, parts, one_by_one)]
    assert whole.engine.members_per_pass == 6 and parts.engine.members_per_pass == 4
    for other, loss in zip((parts, one_by_one), losses[1:], strict=True):
        torch.testing.assert_close(loss, losses[0], rtol=0, atol=1e-10)
        for one, two in zip(weights(whole), weights(other), strict=True):
            for name, param in one.items():
                torch.testing.assert_close(two[name], param, rtol=0, atol=1e-10)


@pytest.mark.skipif(DEVICE.type != "cpu", reason="only a CPU's cache asks for parts")
def test_large_tensors_are_trained_in_parts():
    x, y = torch.zeros(1, 4096, 1, 28, 28), torch.zeros(1, 4096, dtype=torch.int64)
    members = population([setting(r) for r in RATES], [0], torch.float32)  # 12.8 MB of pixels each
    members.engine.begin(torch.zeros(1, 1, dtype=torch.int32), training=True)
    members.step(x, y, 0)
    assert members.engine.members_per_pass == 2


@either_way
def test_an_evaluation_is_the_same_however_many_members(digits, way):
    """A network that mixes the samples of a batch tells batches apart."""

    class Mixing(MLP):
        def forward(self, x):
            y = super().forward(x)
            return y - y.mean(0)

    def losses(rates, seeds):
        many = [setting(r, model=Mixing) for r in rates]
        return population(many, seeds, way=way, eval_batch_size=200).evaluate(digits.val)["loss"]

    (alone,), many = losses([0.3], [1]), losses(RATES, [0, 1, 2])
    assert abs(many[3 * 3 + 1] - alone) < 1e-12
    model = Mixing(MLPConfig(width=32))
    torch.manual_seed(1)
    model = Mixing(MLPConfig(width=32)).to(DEVICE, torch.float64).eval()
    rows = torch.arange(500, device=DEVICE).split(200)
    parts = [F.cross_entropy(model(digits.val[r][0]), digits.val[r][1]) * len(r) for r in rows]
    assert abs(sum(parts) / 500 - alone) < 1e-12


def test_a_start_is_built_once_a_seed(digits):
    built = []

    class Counted(MLP):
        def __init__(self, config):
            super().__init__(config)
            built.append(config.dropout)

    each, seeds = [setting(rate, model=Counted) for rate in (0.1, 0.5, 0.3)], [0, 1, 2, 3]
    members = population(each, seeds)
    assert len(built) == 4 + 2
    for mine, plain in zip(
        weights(members), weights(population(each, seeds, way=PLAIN)), strict=True
    ):
        assert all(torch.equal(mine[name], plain[name]) for name in plain)
    fused, plain = (curves(each, seeds, digits, epochs=1, way=way) for way in (FUSED, PLAIN))
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-10)


def test_weights_that_follow_the_rate_are_not_trained_as_one(digits):
    class Scaled(MLP):
        def __init__(self, config):
            super().__init__(config)
            self.register_buffer("unused", torch.tensor(config.dropout))

    members = population([setting(rate, model=Scaled) for rate in (0.1, 0.5)], [0, 1])
    with pytest.raises(Differs, match="its rate acts outside dropout calls too"):
        members.train_epoch(digits.train, 0)
