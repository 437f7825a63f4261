"""A multilayer perceptron: linear, ReLU and dropout, repeated `depth` times, then a linear head."""

import math
from dataclasses import dataclass

import torch.nn as nn
from torch.nn import functional as F


@dataclass
class MLPConfig:
    dropout: float = 0.0  # after every hidden layer
    input_dropout: float = 0.0  # on the pixels
    depth: int = 2  # hidden layers
    width: int = 256  # units of a hidden layer
    input_shape: tuple[int, ...] = (1, 28, 28)
    n_classes: int = 10

    def __post_init__(self):
        for name in ("depth", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")


class Block(nn.Module):
    def __init__(self, config, fan_in):
        super().__init__()
        self.fc = nn.Linear(fan_in, config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x):
        return self.drop(F.relu(self.fc(x)))


class MLP(nn.Module):
    def __init__(self, config: MLPConfig):
        super().__init__()
        fan_ins = [math.prod(config.input_shape)] + [config.width] * (config.depth - 1)
        self.drop = nn.Dropout(config.input_dropout)
        self.blocks = nn.Sequential(*(Block(config, fan_in) for fan_in in fan_ins))
        self.head = nn.Linear(config.width, config.n_classes)

    def forward(self, x):  # (B, 1, 28, 28) -> (B, 10)
        return self.head(self.blocks(self.drop(x.flatten(1))))
