"""Digits of which some are labelled at random."""

from types import SimpleNamespace

import torch
from torch import Tensor

from sweep.workload.digits import mnist5k


def noisy(config: SimpleNamespace, split: str) -> tuple[Tensor, Tensor]:
    """Return the digits of a split; a part `config.noise` of the training labels is drawn anew."""
    x, labels = mnist5k(config, split)
    if split != "train":
        return x, labels
    draw = torch.Generator().manual_seed(0)
    wrong = torch.rand(len(labels), generator=draw) < config.noise
    others = torch.randint(10, labels.shape, generator=draw).to(labels.dtype)
    return x, torch.where(wrong, others, labels)
