"""Compares a fused member with its plain model, within a bound."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.fused import Fused
from sweep.engine.noise import Noise
from sweep.engine.objective import loss_of, outcomes_of
from sweep.engine.plain import gradients_of, outputs_of
from sweep.engine.site import Alone, Sites
from sweep.errors import Differs
from sweep.workload.inputs import Inputs, map_inputs

# by the lowest dtype used: relative to a loss, or to the norm of all tensors compared
BOUNDS = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
Tensors = Mapping[str, Tensor | None]


def compare_losses(name: str, mine: Tensor, plain: Tensor, bound: float) -> None:
    """Raise Differs if losses (or one loss) differ by more than a relative bound."""
    one, other = mine.double(), plain.double()
    lost = ~one.isfinite() & ~other.isfinite()  # both diverged
    near = (one - other).abs() <= bound * (1 + other.abs())
    if not (near | lost).all():
        worst = (one - other).abs().max().item()
        raise Differs(f"{name} would differ by {worst:.1e}")


def compare_tensors(what: str, mine: Tensors, plain: Tensors, bound: float) -> None:
    """Raise Differs with a tensor's name if it differs by more than a bound.

    The distance is relative to the norm of all tensors together: one that is nothing but rounding
    errors, such as the gradient of a bias before a normalisation, has no scale.
    """
    whole = math.hypot(*(_norm(tensor) for tensor in plain.values())) + 1e-12
    for name, theirs in plain.items():
        apart = _distance(mine.get(name), theirs) / whole
        if not apart <= bound:
            raise Differs(f"{what} {name} would differ by {apart:.1e}")


def _norm(tensor: Tensor | None) -> float:
    """Return the norm of a tensor's finite elements; None is 0."""
    return 0.0 if tensor is None else _wide(tensor).nan_to_num(0.0, 0.0, 0.0).norm().item()


def _wide(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double()


def _distance(mine: Tensor | None, plain: Tensor | None) -> float:
    """Return the norm of a difference; None is zero, and nan equals nan."""
    if mine is None or plain is None:
        return _norm(plain if mine is None else mine)
    one, other = _wide(mine), _wide(plain)
    equal = (one == other) | (one.isnan() & other.isnan())
    return torch.where(equal, 0.0, one - other).norm().item()


def check_step(fused: Fused, x: Inputs, y: Tensor, step: int, k: int) -> Tensor:
    """Compute the gradients of a step as one program, and compare member k with its plain model.

    Returns the losses (K,). Raises Differs if the loss, a gradient or a buffer of k differs.
    """
    seed, bound = k % len(fused.seeds), BOUNDS[_lowest(fused.config, fused.dtype)]
    model = fused.member(k).train()
    losses = fused.backward(x, y, step)
    keys = fused.skeleton.noise.keys[:, seed : seed + 1]
    mine = map_inputs(lambda t: t[seed], x)
    loss = plain_loss(model, mine, y[seed], keys, step, fused.config)
    compare_losses("the loss", losses[k], loss, bound)
    compare_tensors("the gradient of", fused.gradients(k), gradients_of(model), 10 * bound)
    _, buffers = fused._some(slice(k, k + 1))
    own = {name: buffer[0] for name, buffer in buffers.items()}
    compare_tensors("the buffer", own, dict(model.named_buffers()), 10 * bound)
    return losses


def plain_loss(
    model: nn.Module, x: Inputs, y: Tensor, keys: Tensor, step: int, config: TrainConfig
) -> Tensor:
    """Run forward and backward of one member's step, with keys (n_steps, 1); return the loss."""
    noise = Noise()
    noise.begin(keys)
    noise.move(step)
    with Sites(Alone(noise)):
        outputs = outputs_of(model, x, config)
    loss = loss_of(outputs, y, config)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


@torch.no_grad()
def check_evaluation(fused: Fused, x: Inputs, y: Tensor) -> None:
    """Raise Differs if a member has another loss in its plain model; x and y (B, ...)."""
    fused.skeleton.module.eval()
    outcomes, bound = fused.outcomes(x, y, 0), BOUNDS[_lowest(fused.config, fused.dtype)]
    losses = outcomes[0].sum(-1) / outcomes[1].sum(-1)
    for k in range(fused.n_members):
        model = fused.member(k).eval()
        with Sites(Alone(Noise())):
            outputs = outputs_of(model, x, fused.config)
        sums = outcomes_of(outputs, y, fused.config).sum(-1)
        compare_losses("the loss in evaluation", losses[k], sums[0] / sums[1], bound)


def _lowest(config: TrainConfig, dtype: torch.dtype) -> torch.dtype:
    if config.precision == "bf16":
        return torch.bfloat16
    return torch.float32 if dtype == torch.float64 else dtype
