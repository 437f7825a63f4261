"""The orders of samples and the keys of noise: no two may be alike."""

import itertools

import torch

from sweep.engine.noise import evaluation_keys, order_and_keys, site_keys


def test_all_sites_of_all_steps_epochs_and_seeds_have_keys_of_their_own():
    found = []
    for seed, epoch in itertools.product([0, 1, 2, 3, 1000, 1001], range(4)):
        steps = torch.cat(
            [order_and_keys(seed, epoch, 640, 64)[1], evaluation_keys(seed, epoch, 10)]
        )
        found += [site_keys(steps, site) for site in range(8)]
    keys = torch.cat(found)
    assert len(keys) == 6 * 4 * 20 * 8 and keys.dtype == torch.int32
    assert len(keys.unique()) == len(keys)


def test_all_seeds_and_epochs_have_an_order_of_their_own():
    pairs = itertools.product([0, 1, 2, 1000], range(4))
    orders = [order_and_keys(seed, epoch, 1000, 100)[0] for seed, epoch in pairs]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    for one, other in itertools.combinations(orders, 2):
        assert (one == other).sum() < 10  # one on average
