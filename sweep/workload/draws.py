"""The process's random generators, seeded alike whenever data are read."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SEED = 0


@contextmanager
def same_draws() -> Iterator[None]:
    """Seed Python's, numpy's and torch's generators, and put their states back afterwards.

    So a data function that splits at random gives the same parts to every call and every process.
    """
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(SEED)
    np.random.seed(SEED)
    torch.default_generator.manual_seed(SEED)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
