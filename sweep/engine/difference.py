"""Compares a fused member with its plain model, within a bound."""

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.bounds import bound_of, compare_losses, compare_tensors
from sweep.engine.fused import Fused
from sweep.engine.noise import Noise
from sweep.engine.objective import loss_of, outcomes_of
from sweep.engine.plain import gradients_of, outputs_of
from sweep.engine.site import Alone, Sites
from sweep.workload.inputs import Inputs, map_inputs


def check_step(fused: Fused, x: Inputs, y: Tensor, step: int, k: int) -> Tensor:
    """Compute the gradients of a step as one program, and compare member k with its plain model.

    Returns the losses (K,). Raises Differs if the loss, a gradient or a buffer of k differs.
    """
    seed, bound = k % len(fused.seeds), bound_of(fused.config, fused.dtype)
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
    outcomes, bound = fused.outcomes(x, y, 0), bound_of(fused.config, fused.dtype)
    losses = outcomes[0].sum(-1) / outcomes[1].sum(-1)
    for k in range(fused.n_members):
        model = fused.member(k).eval()
        with Sites(Alone(Noise())):
            outputs = outputs_of(model, x, fused.config)
        sums = outcomes_of(outputs, y, fused.config).sum(-1)
        compare_losses("the loss in evaluation", losses[k], sums[0] / sums[1], bound)
