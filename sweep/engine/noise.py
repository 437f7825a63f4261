"""The numbers behind masks: a hash of (seed, epoch, step, site, element), not a generator's stream.

So no mask depends on who else is trained, and all rates of a seed see the same numbers.
"""

import math

import numpy as np
import torch
from torch import Tensor

SCHEME = 2  # stands in a study's fingerprint: other numbers would be another study
AHEAD = 2**18  # numbers drawn at once: a few small steps together cost as much as one
KEPT = 2**28  # bytes of a seed's numbers kept for its next rate; beyond that they are drawn again


def order_and_keys(seed: int, epoch: int, n: int, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the order of the samples (n,) and a noise key for each step (n_steps,), int32.

    They depend on nothing but the arguments: not on the rates or seeds trained beside.
    """
    words = np.random.SeedSequence((seed, epoch)).generate_state(2 + math.ceil(n / batch_size))
    shuffle = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
    return torch.randperm(n, generator=shuffle), torch.from_numpy(words[2:].view(np.int32))


def evaluation_keys(seed: int, epoch: int, n_batches: int) -> Tensor:
    """Return a noise key for each batch of an evaluation (n_batches,), int32."""
    words = np.random.SeedSequence((seed, epoch, 1)).generate_state(n_batches)
    return torch.from_numpy(words.view(np.int32))


def site_keys(keys: Tensor, site: int) -> Tensor:
    """Return the keys of a step's site from those of the step."""
    return keys + 65_537 * site


class Noise:
    """The numbers of S seeds, drawn when a site first asks for them and kept within the step."""

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
    """Draw one float32 uniform in [0, 1) an element for each of S int32 keys.

    Returns (S, *shape), multiples of 2^-24, the same on every device.
    """
    index = torch.arange(shape.numel(), dtype=torch.int32, device=keys.device)
    key = _mix(keys.clone()).unsqueeze(1)  # hashed: index + key itself would overlap other streams
    bits = _mix(_mix(index ^ key).add_(key))
    return _shift_right(bits, 8).to(torch.float32).mul_(2**-24).view(len(keys), *shape)


def _mix(x: Tensor) -> Tensor:
    """Hash int32 to int32, one to one, in place: new memory costs more than the arithmetic.

    lowbias32 of Chris Wellons' hash prospector (bias 0.17): every input bit flips every output bit
    with a probability near a half.
    """
    shifted = torch.empty_like(x)
    for n, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x.bitwise_xor_(_shift_right(x, n, out=shifted)).mul_(factor)
    return x.bitwise_xor_(_shift_right(x, 16, out=shifted))


def _shift_right(x: Tensor, n: int, out: Tensor | None = None) -> Tensor:
    """Shift int32 as if it were unsigned, which torch's >> does not."""
    return torch.bitwise_right_shift(x, n, out=out).bitwise_and_(2 ** (32 - n) - 1)
