"""The process's global random generators: torch's, CUDA's, numpy's and Python's.

If a model draws from them, they are seeded before each of its steps and restored afterwards.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Kinds = frozenset[str]


def _seed_torch(key: int) -> None:
    torch.default_generator.manual_seed(key)  # torch.manual_seed would seed every device too


def _seed_cuda(key: int) -> None:
    if _cuda_runs():  # before that, torch would queue each call for later
        torch.cuda.manual_seed_all(key)


def _seed_numpy(key: int) -> None:
    np.random.seed(key)


SEED: dict[str, Callable[[int], object]] = {
    "torch": _seed_torch,
    "CUDA": _seed_cuda,
    "numpy": _seed_numpy,
    "Python": random.seed,
}
ALL = frozenset(SEED)
NOBODYS = 0x9E3779B9  # a seed that no model uses: one that seeds torch in forward is seen to


def seed_generators(kinds: Kinds, key: int) -> None:
    """Seed some generators with a key of (seed, epoch, step)."""
    for kind in kinds:
        SEED[kind](key % 2**32)


def _cuda_runs() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def generator_states() -> dict[str, Any]:
    """Return the state of each generator in a comparable form."""
    cuda = torch.cuda.get_rng_state_all() if _cuda_runs() else []
    name, words, *place = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "CUDA": tuple(state.numpy().tobytes() for state in cuda),
        "numpy": (name, np.asarray(words).tobytes(), *place),
        "Python": random.getstate(),
    }


def moved_generators(before: dict[str, Any]) -> Kinds:
    """Return the generators that were drawn from since `before`."""
    now = generator_states()
    return frozenset(kind for kind, state in now.items() if state != before[kind])


@contextmanager
def restoring_states() -> Iterator[None]:
    """Restore the state of every generator at the end; torch's is seeded in between.

    A model that seeds torch in forward then leaves another seed than it found, whatever the
    process was seeded with.
    """
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
    )
    cuda = torch.cuda.get_rng_state_all() if _cuda_runs() else []
    _seed_torch(NOBODYS)
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
