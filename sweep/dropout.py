"""nn.Dropout whose rate is a tensor, the noise of its masks, and the swap that puts it in a model.

vmap batches buffers but not Python floats: over plain nn.Dropout it would silently give every
member the rate of the first. The noise is a hash of (seed, epoch, step, site, element) and not a
generator's stream, so that no mask depends on who else is trained; all rates of a seed share it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sweep.lowering import Dims, UnderVmap, members_first

AHEAD = 2**18  # numbers drawn at once: a few small steps together cost as much as one


class RateDropout(nn.Module):
    """nn.Dropout with its rate in a buffer and its noise from `uniform`.

    A step begins with a key for each of S seeds. Run for one member, the module drops by the noise
    of seed `row`; run for K under vmap, where `row` is None, member k has the noise of seed k % S.
    """

    rate: Tensor  # ()

    def __init__(self, rate: float, site: int) -> None:
        super().__init__()
        self.register_buffer("rate", torch.tensor(rate, dtype=torch.float64))
        self.site = site
        self.row: int | None = 0
        self.live = True  # False where all members have rate 0: no noise is drawn for nothing
        self.calls = 0  # by this member in this step: a module used twice draws twice
        self.shapes: dict[int, list[torch.Size]] = {}  # by samples in a step: of each call's input
        self.begin(torch.zeros(1, 1, dtype=torch.int32))

    def begin(self, keys: Tensor, step: int = 0, n_samples: int = 0) -> None:
        """Begin a step on n_samples of an epoch whose steps have keys (n_steps, S) of int32."""
        if step == 0:
            self.drawn: dict[tuple[int, torch.Size], tuple[int, Tensor]] = {}
        self.keys, self.step = keys, step
        self.known = self.shapes.setdefault(n_samples, [])
        self.noise = [self._noise(call, shape) for call, shape in enumerate(self.known)]

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.live):
            return x
        if self.calls == len(self.noise):  # the first step on so many samples
            self.known.append(x.shape)
            self.noise.append(self._noise(self.calls, x.shape))
        noise = self.noise[self.calls]
        self.calls += 1
        if self.row is None:
            return _Drop.apply(x, self.rate, noise)
        return drop(x, self.rate, noise[self.row])

    def _noise(self, call: int, shape: torch.Size) -> Tensor:
        """Return this step's noise (S, ...), drawn once for all members and some steps ahead."""
        first, noise = self.drawn.get((call, shape), (0, None))
        if noise is None or self.step - first >= len(noise):
            steps = max(1, AHEAD // (self.keys.shape[1] * shape.numel()))
            keys = self.keys[self.step : self.step + steps] + 65_537 * self.site + call
            first, noise = self.step, uniform(keys.flatten(), shape).view(*keys.shape, *shape)
            self.drawn[call, shape] = first, noise
        return noise[self.step - first]


def drop(x: Tensor, rate: Tensor, noise: Tensor) -> Tensor:
    """Zero where the noise says so, and scale the rest."""
    keep = (1 - rate).to(noise.dtype)
    mask = torch.lt(noise, keep, out=torch.empty_like(x))
    return x * mask.mul_((1 / keep).to(x.dtype))


class _Drop(UnderVmap):
    """Rows of trials against the noise of seeds, which vmap would first copy for every trial."""

    @staticmethod
    def vmap(info: Any, dims: Dims, x: Tensor, rate: Tensor, noise: Tensor) -> tuple[Tensor, int]:
        x = members_first(x, dims[0], info.batch_size)
        trials = x.reshape(-1, len(noise), *x.shape[1:])  # (T, S, ...)
        rates = rate.view(*trials.shape[:2], *[1] * (x.dim() - 1))
        return drop(trials, rates, noise).flatten(0, 1), 0


def uniform(keys: Tensor, shape: torch.Size) -> Tensor:
    """Draw one float32 uniform in [0, 1) an element for each of S int32 keys.

    Returns (S, *shape), multiples of 2^-24, the same on every device.
    """
    index = torch.arange(shape.numel(), dtype=torch.int32, device=keys.device)
    key = _mix(keys.clone()).unsqueeze(1)  # hashed: index + key itself would overlap other streams
    bits = _mix(_mix(index ^ key).add_(key))
    return _shift_right(bits, 8).to(torch.float32).mul_(2**-24).view(-1, *shape)


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


def swap_dropout(model: nn.Module) -> list[RateDropout]:
    """Replace every nn.Dropout of the model by a RateDropout of the same rate, in place.

    Returns the new modules in the order of the model's modules. Raises ValueError where the model
    has no nn.Dropout, or dropout of another kind, which would keep the first member's rate.
    """
    sites: dict[nn.Module, RateDropout] = {}
    for path, module in list(model.named_modules(remove_duplicate=False)):
        if type(module) is nn.Dropout:
            site = sites.setdefault(module, RateDropout(module.p, len(sites)))
            owner, _, name = path.rpartition(".")
            setattr(model.get_submodule(owner), name, site)
        elif isinstance(module, nn.modules.dropout._DropoutNd):
            raise ValueError(
                f"{path} is {type(module).__name__}, but only nn.Dropout can have a rate of its "
                "own in each member"
            )
    if not sites:
        raise ValueError(f"{type(model).__name__} has no nn.Dropout(config.dropout)")
    return list(sites.values())
