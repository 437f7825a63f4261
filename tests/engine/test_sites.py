"""The knob is live: each site drops what its rate says, by its seed's numbers, and nothing else."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import dropout as imported
from torch.utils.checkpoint import checkpoint

from models.mlp import MLP, MLPConfig
from sweep.command.config import TrainConfig
from sweep.command.rate import TINY
from sweep.engine.noise import Noise, hashed_uniform, order_and_keys, site_keys
from sweep.engine.optimizer import OptimizerNumbers
from sweep.engine.population import Population
from sweep.engine.setting import Setting
from sweep.engine.site import Alone, Sites
from sweep.work import Way
from sweep.workload import generators
from tests.conftest import DEVICE, sites

RATES = [0.0, 0.1, 0.5, 0.9]
SEEDS = [0, 1, 2]
SHAPE = torch.Size((6, 4, 5, 3))


@pytest.fixture(params=["plain", "fused"])
def population(request):
    configs = [MLPConfig(rate, input_dropout=rate / 2, width=512) for rate in RATES]
    settings = [
        Setting(lambda config=config: MLP(config), OptimizerNumbers(1e-3, 0.0))
        for config in configs
    ]
    way = Way(request.param)
    return Population(settings, SEEDS, TrainConfig(), DEVICE, torch.float64, way)


def keys_of_step(step, seeds=SEEDS, epoch=0):
    return torch.stack([order_and_keys(s, epoch, 1280, 128)[1][step] for s in seeds])


def test_each_member_drops_and_scales_at_its_own_rate(population):
    seen = sites(population, keys_of_step(0), train=True)
    assert list(seen) == ["drop", "blocks.0.drop", "blocks.1.drop"]
    for path, (before, after) in seen.items():
        for k, rate in enumerate(rate for rate in RATES for _ in SEEDS):
            rate = rate / 2 if path == "drop" else rate
            alive = before[k] > 0
            n = alive.sum().item()
            dropped = ((after[k] == 0) & alive).sum().item() / n
            assert abs(dropped - rate) <= 4 * (rate * (1 - rate) / n) ** 0.5
            kept = (after[k] != 0) & alive
            torch.testing.assert_close(after[k][kept], before[k][kept] / (1 - rate))


def test_evaluation_is_identity(population):
    for before, after in sites(population, keys_of_step(0), train=False).values():
        assert torch.equal(before, after)


def run(function, seed=0, step=0, epoch=0, **how):
    """Call a function of no arguments as a member of a seed would in a step."""
    noise = Noise()
    noise.begin(keys_of_step(step, [seed], epoch)[None])
    with Sites(Alone(noise), **how) as seen:
        result = function()
    return result, seen


def mask(rate, seed=0, site=0, step=0, epoch=0, n=32_768):
    """Return what the dropout of one site lets through, (n,) of bool."""

    def drops():
        for _ in range(site):
            F.dropout(torch.ones(1), 0.5)
        return F.dropout(torch.ones(n), rate)

    return run(drops, seed, step, epoch)[0] != 0


def test_masks_of_a_seed_are_nested_across_rates():
    kept = [mask(rate, seed=1) for rate in (TINY, *RATES)]
    assert kept[0].all() and kept[1].all()
    for low, high in itertools.pairwise(kept[1:]):
        assert (high <= low).all() and not torch.equal(high, low)


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1].abs()


@pytest.mark.parametrize("other", [{"seed": 1}, {"site": 1}, {"step": 1}, {"epoch": 1}])
def test_masks_are_independent_across_seeds_sites_and_steps(other):
    one, two = mask(0.5), mask(0.5, **other)
    assert correlation(one, two) < 4 / len(one) ** 0.5


@pytest.mark.parametrize("pair", [*itertools.combinations(("seed", "site", "step", "epoch"), 2)])
def test_masks_are_independent_where_two_numbers_are_crossed(pair):
    one, other = pair
    for low, high in ((0, 1), (1, 2), (0, 3)):
        crossed = mask(0.5, **{one: low, other: high}), mask(0.5, **{one: high, other: low})
        assert correlation(*crossed) < 4 / len(crossed[0]) ** 0.5


def test_noise_is_uniform():
    noise = hashed_uniform(torch.arange(8, dtype=torch.int32), torch.Size([100_000])).double()
    assert noise.min() >= 0 and noise.max() < 1
    counts = torch.stack([torch.histc(row, 100, 0, 1) for row in noise])
    chi2 = ((counts - 1000) ** 2 / 1000).sum(1)  # 99 degrees of freedom: mean 99, sd 14
    assert (chi2 < 99 + 5 * 14).all() and (chi2 > 99 - 5 * 14).all()
    for lag in (1, 28, 128, 512):
        assert correlation(noise[:, :-lag], noise[:, lag:]) < 4 / noise.numel() ** 0.5


def test_noise_drawn_ahead_is_that_of_each_step():
    keys, noise = torch.arange(12, dtype=torch.int32).view(6, 2), Noise()
    noise.begin(keys)
    for step in (0, 1, 4, 5):
        noise.move(step)
        for site, shape in ((0, SHAPE), (3, torch.Size((2,)))):
            assert torch.equal(
                noise(site, shape), hashed_uniform(site_keys(keys[step], site), shape)
            )


def numbers(site=0, shape=SHAPE):
    """Return the published noise of a site in step 0 of seed 0."""
    return hashed_uniform(site_keys(keys_of_step(0, [0]), site), shape)[0]


X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
KEPT = (numbers() < 0.7).float()
CHANNELS = (numbers(shape=torch.Size((6, 4, 1, 1))) < 0.7).float()


def alpha(kept):
    """Klambauer et al. 2017, in terms of the rate 0.3 of dropping."""
    saturated = -1.7580993408473766
    a = (0.7 * (1 + 0.3 * saturated**2)) ** -0.5
    return a * (X * kept + saturated * (1 - kept)) - a * 0.3 * saturated


DROPS = {  # what is called in training at rate 0.3, and what it must give
    "F.dropout": (lambda x: F.dropout(x, 0.3), X * KEPT / 0.7),
    "imported": (lambda x: imported(x, p=0.3, training=True), X * KEPT / 0.7),
    "in place": (lambda x: F.dropout(x, 0.3, inplace=True), X * KEPT / 0.7),
    "torch.dropout": (lambda x: torch.dropout(x, 0.3, True), X * KEPT / 0.7),
    "torch.dropout_": (lambda x: torch.dropout_(x, 0.3, True), X * KEPT / 0.7),
    "native": (lambda x: torch.native_dropout(x, 0.3, True)[0], X * KEPT / 0.7),
    "nn.Dropout": (nn.Dropout(0.3), X * KEPT / 0.7),
    "subclass": (type("Mine", (nn.Dropout,), {})(0.3), X * KEPT / 0.7),
    "Dropout2d": (nn.Dropout2d(0.3), X * CHANNELS / 0.7),
    "feature_dropout": (lambda x: torch.feature_dropout(x, 0.3, True), X * CHANNELS / 0.7),
    "AlphaDropout": (nn.AlphaDropout(0.3), alpha(KEPT)),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.3), alpha(CHANNELS)),
    "rate 1": (lambda x: F.dropout(x, 1.0), X * 0),
    "rate 0": (lambda x: F.dropout(x, 0.0), X),
    "evaluation": (lambda x: F.dropout(x, 0.3, False), X),
    "bernoulli_": (lambda x: x * torch.empty_like(x).bernoulli_(0.7), X * KEPT),
    "bernoulli": (lambda x: x * torch.bernoulli(torch.full_like(x, 0.7)), X * KEPT),
    "rand": (lambda x: x * (torch.rand(SHAPE) < 0.7), X * KEPT),
    "rand, no generator": (lambda x: x * (torch.rand(SHAPE, generator=None) < 0.7), X * KEPT),
    "rand_like": (lambda x: x * (torch.rand_like(x) < 0.7), X * KEPT),
    "uniform_": (lambda x: x * (torch.empty(SHAPE).uniform_(-1, 1) < 0.4), X * KEPT),
}


@pytest.mark.parametrize("name", DROPS)
def test_a_call_drops_by_the_published_noise(name):
    call, expected = DROPS[name]
    result, seen = run(lambda: call(X.clone()))
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
    assert seen.count == (name != "evaluation")


def test_normal_and_exponential_numbers_have_their_moments():
    shape = (200_000,)
    for draw, mean, std in (
        (lambda: torch.randn(shape), 0, 1),
        (lambda: torch.empty(shape).normal_(3, 2), 3, 2),
        (lambda: torch.empty(shape).exponential_(4), 1 / 4, 1 / 4),
    ):
        result, _ = run(draw)
        assert abs(result.mean() - mean) < 5 * std / 200_000**0.5
        assert abs(result.std() - std) < 0.01 * std


def test_a_draw_with_a_generator_of_its_own_is_left_to_it():
    draw = lambda: torch.rand(5, generator=torch.Generator().manual_seed(3))  # noqa: E731
    assert torch.equal(run(draw)[0], draw())


@pytest.mark.parametrize(
    ("masked", "causal"), [(None, False), (None, True), ("bool", False), ("float", False)]
)
def test_attention_is_torchs(masked, causal):
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, 4, 5, 8, dtype=torch.float64, generator=generator) for _ in "qkv")
    mask = None
    if masked:
        mask = torch.rand(2, 1, 5, 5, generator=generator) < 0.7
        mask[0, :, 2] = False  # nowhere to look
        mask = mask if masked == "bool" else torch.randn(5, 5, generator=generator).double()
    expected = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    attend = lambda p: F.scaled_dot_product_attention(q, k, v, mask, p, causal)  # noqa: E731
    for rate in (0.0, 1e-9):  # torch's own kernel, and ours at a rate that drops nearly nothing
        torch.testing.assert_close(run(lambda rate=rate: attend(rate))[0], expected)
    q.requires_grad_()
    slopes = [
        torch.autograd.grad(attended.square().sum(), q)[0]
        for attended in (attend(0.0), run(lambda: attend(1e-9))[0])
    ]
    torch.testing.assert_close(*slopes)
    weights = F.scaled_dot_product_attention(
        q, k, torch.eye(5, dtype=torch.float64).expand(2, 4, 5, 5), mask, is_causal=causal
    )
    kept = (numbers(shape=weights.shape) < 0.6) / 0.6
    torch.testing.assert_close(run(lambda: attend(0.4))[0], (weights * kept) @ v)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("how", ["plain", "bidirectional", "batch_first", "packed"])
def test_layers_are_torchs_with_our_dropout_between(kind, how):
    torch.manual_seed(0)
    more = {how: True} if how in ("bidirectional", "batch_first") else {}
    layers = kind(3, 4, 2, dropout=0.4, **more).double()
    x = torch.randn(5, 6, 3, dtype=torch.float64)
    if how == "packed":
        x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 4, 4, 2, 1, 1]))
    layers.eval()
    (torchs, ends), _ = layers(x), layers.train()
    (ours, own_ends), seen = run(lambda: setattr(layers, "dropout", TINY) or layers(x))
    flat = lambda many: many if isinstance(many, tuple) else (many,)  # noqa: E731
    for one, other in zip((*torchs, *flat(ends)), (*ours, *flat(own_ends)), strict=True):
        if one is not None:
            torch.testing.assert_close(one, other)
    assert seen.count == 1
    layers.dropout = 0.4
    (dropped, _), _ = run(lambda: layers(x))
    assert not torch.equal(dropped[0], ours[0])
    (again, _), _ = run(lambda: layers(x))
    assert torch.equal(dropped[0], again[0])


def test_dropout_inside_multi_head_attention_is_seen():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = torch.randn(5, 3, 8)
    _, seen = run(lambda: layer(x, x, x), noting=True)
    (call,) = seen.calls
    assert call.rate == 0.5 and "engine/test_sites.py" in call.where
    _, seen = run(lambda: layer(x, x, x, need_weights=False), noting=True)
    assert [call.function for call in seen.calls] == ["scaled_dot_product_attention"]


def test_a_module_used_twice_draws_twice():
    drop, x = nn.Dropout(0.5), torch.ones(1000)
    (one, two), _ = run(lambda: (drop(x), drop(x)))
    assert correlation(one, two) < 4 / 1000**0.5


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_gives_the_gradients_of_none(reentrant):
    torch.manual_seed(0)
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    x = torch.randn(16, 8, requires_grad=True)
    part = lambda x: F.dropout(second(F.dropout(x, 0.3)).relu(), 0.5)  # noqa: E731

    def gradients(inner):
        loss, _ = run(lambda: F.dropout(inner(F.dropout(first(x), 0.2)), 0.1).square().sum())
        loss.backward()
        found = [p.grad for p in (*first.parameters(), *second.parameters())]
        for parameter in (*first.parameters(), *second.parameters()):
            parameter.grad = None
        return found

    kept = gradients(lambda x: checkpoint(part, x, use_reentrant=reentrant))
    for one, other in zip(gradients(part), kept, strict=True):
        assert torch.equal(one, other)


def test_generators_are_left_as_they_were_found():
    def draws():
        return torch.randperm(1000).tolist(), np.random.rand(), random.random()

    found = torch.get_rng_state(), np.random.get_state(), random.getstate()
    expected = draws()
    torch.set_rng_state(found[0]), np.random.set_state(found[1]), random.setstate(found[2])
    with generators.restoring_states():
        generators.seed_generators(generators.ALL, 5)
        before = generators.generator_states()
        one = draws()
        assert generators.moved_generators(before) == {"torch", "numpy", "Python"}
        generators.seed_generators(generators.ALL, 5)
        assert draws() == one != expected
    assert draws() == expected
