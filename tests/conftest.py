"""Real digits, and a plain PyTorch loop that uses nothing of ours to compare with."""

import pytest
import torch

from sweep.data import Data, load

MNIST5K = {"_target_": "sweep.digits.mnist5k", "n_train": 1000, "n_val": 500, "split_seed": 0}


@pytest.fixture(scope="session")
def digits() -> Data:
    return load(MNIST5K, torch.device("cpu"), torch.float64)


@pytest.fixture(scope="session")
def digits32() -> Data:
    return load(MNIST5K, torch.device("cpu"), torch.float32)
