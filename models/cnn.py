"""A convolutional network like LeNet (LeCun et al. 1998), with ReLU and max pooling.

Two blocks of convolution, pooling and dropout, then one hidden layer with dropout.
"""

from dataclasses import dataclass

import torch.nn as nn
from torch.nn import functional as F


@dataclass
class CNNConfig:
    dropout: float = 0.0  # after the hidden layer
    conv_dropout: float | None = None  # after both blocks; None: same as dropout
    channels: int = 8  # of the first block; the second has twice as many
    width: int = 128  # units of the hidden layer
    input_shape: tuple[int, ...] = (1, 28, 28)
    n_classes: int = 10

    def __post_init__(self):
        for name in ("channels", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if len(self.input_shape) != 3 or min(self.input_shape[1:]) < 12:
            raise ValueError(f"needs images (C, H, W) of at least 12 x 12, not {self.input_shape}")


class Block(nn.Module):
    def __init__(self, fan_in, channels, padding, rate):
        super().__init__()
        self.conv = nn.Conv2d(fan_in, channels, kernel_size=5, padding=padding)
        self.drop = nn.Dropout(rate)

    def forward(self, x):  # (B, C, H, W) -> (B, channels, H / 2, W / 2)
        return self.drop(F.relu(F.max_pool2d(self.conv(x), 2)))


class CNN(nn.Module):
    def __init__(self, config: CNNConfig):
        super().__init__()
        rate = config.dropout if config.conv_dropout is None else config.conv_dropout
        fan_in, height, width = config.input_shape
        channels = config.channels
        self.block1 = Block(fan_in, channels, 2, rate)
        self.block2 = Block(channels, 2 * channels, 0, rate)
        n_features = 2 * channels * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        self.fc = nn.Linear(n_features, config.width)
        self.drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.n_classes)

    def forward(self, x):  # (B, 1, 28, 28) -> (B, 10)
        x = self.block2(self.block1(x))
        return self.head(self.drop(F.relu(self.fc(x.flatten(1)))))
