"""The knob is live: every site of every member drops what its rate says, and nothing else does."""

import itertools

import pytest
import torch
from torch import nn

from models.mlp import MLP, MLPConfig
from sweep.config import TrainConfig
from sweep.dropout import RateDropout, swap_dropout, uniform
from sweep.population import Population, Setting, order_and_keys
from tests.conftest import DEVICE, sites

RATES = [0.0, 0.1, 0.5, 0.9]
SEEDS = [0, 1, 2]


def population(rates=RATES, seeds=SEEDS):
    configs = [MLPConfig(rate, input_dropout=rate / 2, width=512) for rate in rates]
    settings = [Setting(lambda config=config: MLP(config), 1e-3, 0.0) for config in configs]
    return Population(settings, seeds, TrainConfig(), DEVICE, torch.float64)


def keys_of_step(step, seeds=SEEDS, epoch=0):
    return torch.stack([order_and_keys(s, epoch, 1280, 128)[1][step] for s in seeds])


def test_each_member_drops_and_scales_at_its_own_rate():
    members = population()
    assert list(members.skeleton.dropouts) == ["drop", "blocks.0.drop", "blocks.1.drop"]
    assert not any(
        isinstance(m, nn.modules.dropout._DropoutNd) for m in members.skeleton.module.modules()
    )
    for path, (before, after) in sites(members, keys_of_step(0), train=True).items():
        for k, rate in enumerate(rate for rate in RATES for _ in SEEDS):
            rate = rate / 2 if path == "drop" else rate
            alive = before[k] > 0
            n = alive.sum().item()
            dropped = ((after[k] == 0) & alive).sum().item() / n
            assert abs(dropped - rate) <= 4 * (rate * (1 - rate) / n) ** 0.5
            kept = (after[k] != 0) & alive
            torch.testing.assert_close(after[k][kept], before[k][kept] / (1 - rate))


def test_evaluation_is_identity():
    for before, after in sites(population(), keys_of_step(0), train=False).values():
        assert torch.equal(before, after)


def mask(rate, seed, site=0, step=0, epoch=0, n=32_768):
    """Return what the dropout of one site lets through, (n,) of bool."""
    drop = RateDropout(rate, site)
    drop.begin(keys_of_step(step, [seed], epoch)[None])
    return drop(torch.ones(n)) != 0


def test_in_a_population_the_mask_is_that_of_the_member_alone():
    seen = sites(population(), keys_of_step(3), train=True)
    for site, (before, after) in enumerate(seen.values()):
        for k, (rate, seed) in enumerate((rate, seed) for rate in RATES for seed in SEEDS):
            shape = before[k].shape
            rate = rate / 2 if site == 0 else rate
            alone = mask(rate, seed, site, step=3, n=shape.numel()).view(shape).to(DEVICE)
            assert torch.equal(after[k] != 0, (before[k] != 0) & alone)


def test_masks_of_a_seed_are_nested_across_rates():
    kept = [mask(rate, seed=1) for rate in RATES]
    assert kept[0].all()
    for low, high in itertools.pairwise(kept):
        assert (high <= low).all() and not torch.equal(high, low)


def correlation(a, b):
    return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1].abs()


@pytest.mark.parametrize("other", [{"seed": 1}, {"site": 1}, {"step": 1}, {"epoch": 1}])
def test_masks_are_independent_across_seeds_sites_and_steps(other):
    one, two = mask(0.5, seed=0), mask(**{"rate": 0.5, "seed": 0, **other})
    assert correlation(one, two) < 4 / len(one) ** 0.5


def test_noise_is_uniform():
    noise = uniform(torch.arange(8, dtype=torch.int32), torch.Size([100_000])).double()
    assert noise.min() >= 0 and noise.max() < 1
    counts = torch.stack([torch.histc(row, 100, 0, 1) for row in noise])
    chi2 = ((counts - 1000) ** 2 / 1000).sum(1)  # 99 degrees of freedom: mean 99, sd 14
    assert (chi2 < 99 + 5 * 14).all() and (chi2 > 99 - 5 * 14).all()
    for lag in (1, 28, 128, 512):
        assert correlation(noise[:, :-lag], noise[:, lag:]) < 4 / noise.numel() ** 0.5


def test_a_module_used_twice_draws_twice():
    drop = RateDropout(0.5, site=0)
    x = torch.ones(1000)
    assert correlation(drop(x), drop(x)) < 4 / 1000**0.5


def test_swap_keeps_each_rate_and_shares_what_was_shared():
    drop = nn.Dropout(0.3)
    model = nn.Sequential(nn.Linear(4, 4), drop, nn.Sequential(nn.Dropout(0.6)), drop)
    swapped = swap_dropout(model)
    assert [round(module.rate.item(), 6) for module in swapped] == [0.3, 0.6]
    assert model[1] is model[3]


@pytest.mark.parametrize("kind", [nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout])
def test_swap_refuses_what_it_cannot_swap(kind):
    with pytest.raises(ValueError, match=f"1 is {kind.__name__}"):
        swap_dropout(nn.Sequential(nn.Dropout(0.1), kind(0.1)))


def test_swap_refuses_a_model_without_dropout():
    with pytest.raises(ValueError, match=r"no nn\.Dropout"):
        swap_dropout(nn.Sequential(nn.Linear(1, 1)))
