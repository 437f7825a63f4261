"""Finds effects of a rate outside dropout calls: as a number in forward, or on what is built."""

import torch
from torch import Tensor, nn

from sweep.command.config import TrainConfig
from sweep.engine.equal import equal_bits
from sweep.engine.plain import build_model, run_once
from sweep.engine.setting import Candidates, Setting
from sweep.errors import Differs, first_line
from sweep.workload.inputs import Inputs, device_of

SEEDS = (0, 1)


def acts_outside(some: Candidates, x: Inputs, config: TrainConfig, dtype: torch.dtype) -> bool:
    """Return whether models of different rates differ if all dropout calls use one rate."""
    outputs = []
    for setting in some.settings:
        model = build_model(setting, SEEDS[0], device_of(x), dtype).train()
        with torch.no_grad():
            outputs.append(run_once(model, x, config, force=0.5)[0])
    return any(not torch.equal(outputs[0], other) for other in outputs[1:])


def other_at_zero(
    some: Candidates, x: Inputs, config: TrainConfig, dtype: torch.dtype
) -> str | None:
    """Return how the model built at rate 0 differs from the one built at TINY, or None.

    Raises Differs if the latter is not the same when it is built and run twice.
    """

    def said(setting: Setting) -> tuple[dict[str, Tensor], list[Tensor]]:
        model = build_model(setting, SEEDS[0], device_of(x), dtype)
        return dict(model.named_parameters()), _said(model, x, config)

    try:
        (tiny, outputs), (_, again) = said(some.at_zero), said(some.at_zero)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return None  # a trial at this rate reports its failure
    if not all(map(equal_bits, outputs, again)):
        raise Differs("it differs when run twice: something that it draws or keeps has no seed")
    try:
        zero, others = said(some.zero)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        return f"fails: {first_line(error)}"
    other = next((n for n in (*zero, *tiny) if not equal_bits(zero.get(n), tiny.get(n))), None)
    if other or not all(map(equal_bits, outputs, others)):
        name = other or "its outputs"
        return f"is another network ({name}), which shares only the seed with other rates"
    return None


@torch.no_grad()
def _said(model: nn.Module, x: Inputs, config: TrainConfig) -> list[Tensor]:
    """Return a model's outputs for x, without dropping, in training and in evaluation."""
    modes = (True, False)
    return [run_once(model.train(mode), x, config, dropping=False)[0] for mode in modes]
