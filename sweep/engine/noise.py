"""The random numbers behind dropout masks: a hash of (seed, epoch, step, site, element).

So no mask depends on what else is trained, and all rates of a seed get the same numbers.
"""

import math

import numpy as np
import torch
from torch import Tensor

SCHEME = 2  # part of a study's fingerprint: other numbers make another study
AHEAD = 2**18  # numbers drawn at once; several small steps together cost as much as one
KEPT = 2**28  # bytes of numbers kept for the next rate of a seed; others are drawn again


def order_and_keys(seed: int, epoch: int, n: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the order of the samples (n,) and a noise key for each step (n_steps,), int32.

    They depend only on the arguments, not on which other rates or seeds are trained.
    """
    words = np.random.SeedSequence((seed, epoch)).generate_state(2 + math.ceil(n / batch_size))
    shuffle = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
    return torch.randperm(n, generator=shuffle), torch.from_numpy(words[2:].view(np.int32))


def evaluation_keys(seed: int, epoch: int, n_batches: int) -> Tensor:
    """Return a noise key for each batch of an evaluation (n_batches,), int32."""
    words = np.random.SeedSequence((seed, epoch, 1)).generate_state(n_batches)
    return torch.from_numpy(words.view(np.int32))


def site_keys(keys: Tensor, site: int) -> Tensor:
    """Return the keys of a site from the keys of its steps."""
    return keys + 65_537 * site


class Noise:
    """The numbers of S seeds, drawn when a site first asks, for one or more steps at once."""

    def __init__(self) -> None:
        self.begin(torch.zeros(1, 1, dtype=torch.int32))

    def begin(self, keys: Tensor) -> None:
        """Begin an epoch whose steps have keys (n_steps, S) of int32."""
        self.keys, self.step = keys, 0
        self.drawn: dict[tuple[int, torch.Size], tuple[int, Tensor]] = {}

    def move(self, step: int) -> None:
        """Go to a step of the epoch."""
        self.step = step
        self.drawn = {
            of: (first, numbers)
            for of, (first, numbers) in self.drawn.items()
            if first <= step < first + len(numbers)
        }

    def __call__(self, site: int, shape: torch.Size) -> Tensor:
        """Return this step's numbers of a site (S, *shape): uniform in [0, 1), float32."""
        first, numbers = self.drawn.get((site, shape), (0, None))
        if numbers is None:
            steps = max(1, AHEAD // max(1, self.keys.shape[1] * shape.numel()))
            keys = site_keys(self.keys[self.step : self.step + steps], site)
            first, numbers = (
                self.step,
                hashed_uniform(keys.flatten(), shape).view(*keys.shape, *shape),
            )
            if numbers.nbytes + sum(kept.nbytes for _, kept in self.drawn.values()) <= KEPT:
                self.drawn[site, shape] = first, numbers
        return numbers[self.step - first]


def hashed_uniform(keys: Tensor, shape: torch.Size) -> Tensor:
    """Return float32 numbers (S, *shape), uniform in [0, 1), for S int32 keys.

    They are multiples of 2^-24 and the same on every device.
    """
    index = torch.arange(shape.numel(), dtype=torch.int32, device=keys.device)
    key = _mix(keys.clone()).unsqueeze(1)  # unhashed, streams of different keys would overlap
    bits = _mix(_mix(index ^ key).add_(key))
    return _shift_right(bits, 8).to(torch.float32).mul_(2**-24).view(len(keys), *shape)


def _mix(x: Tensor) -> Tensor:
    """Hash int32 to int32, one to one, in place, as new memory costs more than the arithmetic.

    lowbias32 from Chris Wellons' hash prospector (bias 0.17): each input bit flips each output bit
    with a probability near 1/2.
    """
    shifted = torch.empty_like(x)
    for n, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x.bitwise_xor_(_shift_right(x, n, out=shifted)).mul_(factor)
    return x.bitwise_xor_(_shift_right(x, 16, out=shifted))


def _shift_right(x: Tensor, n: int, out: Tensor | None = None) -> Tensor:
    """Shift int32 right as if it were unsigned; torch's >> keeps the sign."""
    return torch.bitwise_right_shift(x, n, out=out).bitwise_and_(2 ** (32 - n) - 1)
