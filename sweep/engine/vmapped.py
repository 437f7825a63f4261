"""Runs a model without weights on the stacked weights of many members at once.

Axes: T trials, S seeds, K = T * S members (trial by trial), B samples of a batch.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from sweep.command.config import TrainConfig
from sweep.command.rate import NOTHING
from sweep.engine.layers import Dims, UnderVmap, members_first
from sweep.engine.noise import Noise
from sweep.engine.objective import loss_of, outcomes_of
from sweep.engine.plain import outputs_of
from sweep.engine.site import Sites
from sweep.workload.inputs import Inputs, map_inputs

Tensors = Mapping[str, Tensor]
Numbers = dict[int, Tensor]  # site -> its noise (S, ...)
# vmap warns when it has no rule and runs members one by one; a user cannot change that
torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]


class Skeleton:
    """Computes losses, gradients and outcomes of members from their stacked weights (K, ...)."""

    def __init__(self, model: nn.Module, n_seeds: int, config: TrainConfig) -> None:
        # a copy with shapes only; tied tensors stay tied
        memo: dict[int, Any] = {
            id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()
        }
        memo |= {id(buffer): buffer.to("meta") for buffer in model.buffers()}
        self.module = copy.deepcopy(model, memo)
        self.trainable = [name for name, p in model.named_parameters() if p.requires_grad]
        self.n_seeds, self.config = n_seeds, config
        self.noise = Noise()
        self.shapes: dict[int, dict[int, torch.Size]] = {}  # samples -> site -> shape of its noise
        self.live: list[bool] = []  # of each site, whether it drops in any member

    def numbers(self, n_samples: int) -> Numbers:
        """Return this step's noise by site, if a step on as many samples has shown the shapes."""
        shapes = self.shapes.setdefault(n_samples, {})
        return {site: self.noise(site, shape) for site, shape in shapes.items()}

    def losses(
        self,
        params: Tensors,
        buffers: Tensors,
        rates: Tensor,
        numbers: Numbers,
        x: Inputs,
        y: Tensor,
    ) -> Tensor:
        """Return the losses (K,) of a training step; rates (K, sites), x and y (S, B, ...)."""
        n_trials = len(rates) // self.n_seeds
        x, y = (map_inputs(lambda t: t.repeat(n_trials, *[1] * (t.dim() - 1)), t) for t in (x, y))
        source = _Together(self, numbers)

        def member(
            params: Tensors, buffers: Tensors, rates: Tensor, x: Inputs, y: Tensor
        ) -> Tensor:
            with Sites(source.of(rates)):
                outputs = outputs_of(_Called(self.module, params, buffers), x, self.config)
            return loss_of(outputs, y, self.config)

        return torch.vmap(member)(params, buffers, rates, x, y)

    def gradients(self, params: Tensors, *args: Any) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Return the losses (K,) of a training step and the gradients of each weight, stacked.

        A gradient is None if the loss does not reach the weight; frozen weights are left out.
        """
        leaves = {name: params[name].detach().requires_grad_() for name in self.trainable}
        losses = self.losses({**params, **leaves}, *args)
        # members share no weights, so the gradient of the sum is each one's own
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        return losses.detach(), dict(zip(leaves, gradients, strict=True))

    def outcomes(self, params: Tensors, buffers: Tensors, x: Inputs, y: Tensor) -> Tensor:
        """Return each member's outcomes_of a batch, (4, K, B), in evaluation; x and y (B, ...)."""

        def member(params: Tensors, buffers: Tensors) -> Tensor:
            with Sites(_Nothing()):
                outputs = outputs_of(_Called(self.module, params, buffers), x, self.config)
            return outcomes_of(outputs, y, self.config)

        return torch.vmap(member, out_dims=1)(params, buffers)


class _Called:
    """The module as a function of its inputs, with the given weights and buffers."""

    def __init__(self, module: nn.Module, params: Tensors, buffers: Tensors) -> None:
        self.module, self.state = module, (dict(params), dict(buffers))

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Any:
        with sdpa_kernel(SDPBackend.MATH):  # others have no vmap rule, so members would run alone
            return functional_call(self.module, self.state, args, kwargs)


class _Nothing:
    """The source of an evaluation, in which a proven model draws nothing."""

    def drops(self, site: int, rate: float) -> bool:
        if rate > NOTHING:
            raise RuntimeError("it drops in evaluation")
        return False

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("it draws random numbers in evaluation")


class _Together:
    """The source of all members under vmap; member k has the noise of seed k % S."""

    def __init__(self, skeleton: Skeleton, numbers: Numbers) -> None:
        self.skeleton, self.numbers = skeleton, numbers

    def of(self, rates: Tensor) -> "_Together":
        self.rates = rates  # (sites,) of the member
        return self

    def drops(self, site: int, rate: float) -> bool:
        return self.skeleton.live[site]

    def drop(self, site: int, x: Tensor, rate: float) -> Tensor:
        return _Drop.apply(x, self.rates[site], self._numbers(site, x.shape))

    def kept(
        self, site: int, rate: float, shape: torch.Size, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        own = self.rates[site]
        kept = self.uniform(site, shape) < (1 - own).to(torch.float32)
        return kept.to(like.dtype), own.to(like.dtype)

    def uniform(self, site: int, shape: torch.Size) -> Tensor:
        return _Own.apply(self.rates, self._numbers(site, shape))

    def fill(self, x: Tensor, numbers: Tensor) -> Tensor:
        try:
            return x.copy_(numbers)
        except RuntimeError:  # x has no axis K; most callers use the returned tensor
            return numbers

    def _numbers(self, site: int, shape: torch.Size) -> Tensor:
        if site not in self.numbers:  # in the first step on so many samples
            self.numbers[site] = self.skeleton.noise(site, shape)
        if self.numbers[site].shape[1:] != shape:
            raise RuntimeError("the shapes of its dropout change from step to step")
        return self.numbers[site]


def drop(x: Tensor, rate: Tensor, noise: Tensor) -> Tensor:
    """Zero elements of x (T, S, ...) by the noise and scale the rest; rate (T, S, 1, ...)."""
    keep = 1 - rate
    mask = torch.lt(noise, keep.to(noise.dtype), out=torch.empty_like(x))
    exact = x.dtype if x.dtype == torch.float64 else torch.float32
    return x * mask.mul_((1 / keep.to(exact)).to(x.dtype))


class _Drop(UnderVmap):
    """Dropout with the noise of seeds broadcast over trials; vmap would copy it for each trial."""

    @staticmethod
    def vmap(info: Any, dims: Dims, x: Tensor, rate: Tensor, noise: Tensor) -> tuple[Tensor, int]:
        x = members_first(x, dims[0], info.batch_size)
        trials = x.reshape(-1, len(noise), *x.shape[1:])  # (T, S, ...)
        rates = rate.view(*trials.shape[:2], *[1] * (x.dim() - 1))
        return drop(trials, rates, noise).flatten(0, 1), 0


class _Own(UnderVmap):
    """The noise of seeds (S, ...), repeated for all members (K, ...)."""

    @staticmethod
    def vmap(info: Any, dims: Dims, rates: Tensor, noise: Tensor) -> tuple[Tensor, int]:
        return noise.repeat(info.batch_size // len(noise), *[1] * (noise.dim() - 1)), 0
