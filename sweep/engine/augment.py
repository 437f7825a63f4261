"""Applies a user's random augmentation, seeded so that all rates of a seed get the same inputs."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sweep.engine.equal import equal_bits
from sweep.errors import BadInput, first_line
from sweep.workload import generators
from sweep.workload.inputs import Inputs, input_tensors, map_inputs, map_named
from sweep.workload.split import Augment

KEY = 0x5BD1E995  # XORed with a step's key to make the key of its augmentation


@torch.no_grad()
def augmented(augment: Augment, x: Inputs, keys: Sequence[int]) -> Inputs:
    """Augment a step's inputs (S, B, ...); the generators are seeded with each seed's key, of S."""
    parts = []
    with generators.restoring_states():
        for seed, key in enumerate(keys):
            generators.seed_generators(generators.ALL, key ^ KEY)
            parts.append(augment(map_inputs(_copy_of(seed), x)))
    names = [input_tensors(part) for part in parts]
    return map_named(lambda name, _: torch.stack([named[name] for named in names]), x)


def _copy_of(seed: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[seed].clone()


def check_augment(augment: Augment, x: Inputs) -> None:
    """Raise BadInput if an augmentation fails or changes shapes or dtypes."""
    key = f"data.augment={augment.__module__}.{getattr(augment, '__qualname__', augment)}"
    try:
        changed, again = (_seeded(augment, x) for _ in range(2))
        kinds = [_kinds(changed), _kinds(x)]
    except Exception as error:
        raise BadInput(f"{key}: {type(error).__name__}: {first_line(error)}") from error
    if kinds[0] != kinds[1]:
        raise BadInput(f"{key}: must return {kinds[1]}, not {kinds[0]}")
    pairs = zip(input_tensors(changed).values(), input_tensors(again).values(), strict=True)
    if not all(equal_bits(one, other) for one, other in pairs):
        raise BadInput(
            f"{key}: draws from a generator of its own; it must draw from torch, numpy or random "
            "themselves, which are seeded for it"
        )


def _seeded(augment: Augment, x: Inputs) -> Inputs:
    with generators.restoring_states():
        generators.seed_generators(generators.ALL, KEY)
        changed: Inputs = augment(map_inputs(Tensor.clone, x))
    return changed


def _kinds(x: Inputs) -> str:
    kinds = [f"{name} {tuple(t.shape)} {t.dtype}".strip() for name, t in input_tensors(x).items()]
    return ", ".join(kinds)
