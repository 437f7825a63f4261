"""Is a model's dropout where a rate can reach it? Found by running the model, not by reading it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sweep.config import BadInput, is_rate
from sweep.dropout import RateDropout, swap_dropout
from sweep.mistake import first_line
from sweep.model import builder, describe, variants
from sweep.space import Axis

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def try_out(
    model: Mapping[str, Any], axes: Sequence[Axis], input_shape: tuple[int, ...], n_classes: int
) -> list[str]:
    """Build the model at each end of what is searched and train one batch of two blank samples.

    Returns warnings. Raises BadInput where the model fails, its output has not one number for each
    class, a searched rate reaches no nn.Dropout, random numbers are drawn anywhere else, or a
    number changes that is in no tensor.
    """
    found: list[str] = []
    for variant in variants(model, axes):
        shown = describe(variant)
        try:
            built = builder(variant, 0.5, input_shape, n_classes)()
            swap_dropout(built)
            before = numbers(built)
            outputs, draws, found = run(built.float(), torch.zeros(2, *input_shape))
            changed = sorted(key for key, _ in before ^ numbers(built))
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            raise BadInput(f"{shown}: {first_line(error)}") from error
        if not any(parameter.requires_grad for parameter in built.parameters()):
            raise BadInput(f"{shown}: has no parameter to train")
        if not isinstance(outputs, Tensor):
            raise BadInput(f"{shown}: gives a {type(outputs).__name__}, not a tensor")
        if tuple(outputs.shape) != (2, n_classes):
            shape = tuple(outputs.shape[1:])
            raise BadInput(f"{shown}: gives {shape} for a sample, not the {n_classes} classes")
        if draws:
            raise BadInput(
                f"{shown}: {draws[0]} in training, where no rate of a member can reach it; "
                "use nn.Dropout modules"
            )
        if changed:
            raise BadInput(
                f"{shown}: forward changes {changed[0]}, which all members would share; keep it in "
                "a buffer"
            )
    for axis in axes:
        if is_rate(axis.key):
            _check_use(axis.key, model, input_shape, n_classes)
    return found


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every random draw, and which module was running then."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running: list[str] = []  # the innermost last
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen.append(f"{self.running[-1]} draws random numbers ({func.overloadpacket})")
        return func(*args, **(kwargs or {}))


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, list[str], list[str]]:
    """Run a model in training; return its outputs, who drew random numbers, and warnings."""
    draws = Draws()
    order: list[nn.Module] = []  # as they were called
    warnings = []

    def enter(name: str, module: nn.Module, args: Any) -> None:
        draws.running.append(name)
        if isinstance(module, BATCH_NORMS) and any(isinstance(m, RateDropout) for m in order):
            warnings.append(
                f"dropout stands before {name}: batch normalisation then sees another variance in "
                "evaluation than in training (Li et al. 2018); put dropout after the last one"
            )
        order.append(module)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        draws.running.pop()

    for path, module in model.named_modules():
        name = f"{path or 'the model'} ({type(module).__name__})"
        module.register_forward_pre_hook(partial(enter, name))
        module.register_forward_hook(leave)
    with draws:
        outputs = model.train()(x)
    return outputs, draws.seen, warnings[:1]


def numbers(model: nn.Module) -> set[tuple[str, Any]]:
    """Return the plain numbers that the modules of a model hold, by name."""
    return {
        (f"{path}.{key}".lstrip("."), value)
        for path, module in model.named_modules()
        if not isinstance(module, RateDropout)
        for key, value in vars(module).items()
        if isinstance(value, int | float) and key != "training"
    }


def _check_use(
    key: str, model: Mapping[str, Any], input_shape: tuple[int, ...], n_classes: int
) -> None:
    """Raise BadInput where two values of a rate build the same dropouts."""
    rates = []
    for rate in (0.25, 0.75):
        variant = dict(model) if key == "dropout" else {**model, key.removeprefix("model."): rate}
        try:
            built = builder(variant, rate if key == "dropout" else 0.5, input_shape, n_classes)()
        except Exception:
            return  # at this rate, which may not be searched; a trial of it fails by itself
        rates.append([site.rate.item() for site in swap_dropout(built)])
    if rates[0] == rates[1]:
        raise BadInput(f"{describe(model)}: {key} is searched, but nothing in the model uses it")
