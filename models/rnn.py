"""A recurrent network that reads an image row by row, with GRU or LSTM layers written in Python.

Dropout is applied as in Zaremba et al. 2014, between layers and never between time steps: after
each layer but the last, as in torch.nn.LSTM(dropout=), and before the head. The layers compute what
torch.nn.GRU and torch.nn.LSTM compute, with weights of the same shapes; vmap cannot run torch's.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class RNNConfig:
    dropout: float = 0.0  # between the layers and before the head
    input_dropout: float = 0.0  # on the rows
    cell: str = "gru"  # gru | lstm
    depth: int = 2  # layers
    width: int = 64  # units of a layer
    input_shape: tuple[int, ...] = (1, 28, 28)
    n_classes: int = 10

    def __post_init__(self):
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, but got {self.cell}")
        for name in ("depth", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, but got {getattr(self, name)}")


class GRU(nn.Module):
    def __init__(self, fan_in, width):
        super().__init__()
        self.width = width
        self.ih = nn.Linear(fan_in, 3 * width)  # reset, update, new: torch's order
        self.hh = nn.Linear(width, 3 * width)

    def forward(self, x):  # (B, T, fan_in) -> (B, T, width)
        outputs = []
        h = x.new_zeros(len(x), self.width)
        for gates in self.ih(x).unbind(1):
            r_x, z_x, n_x = gates.chunk(3, -1)
            r_h, z_h, n_h = self.hh(h).chunk(3, -1)
            z = torch.sigmoid(z_x + z_h)
            n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            h = n + z * (h - n)
            outputs.append(h)
        return torch.stack(outputs, 1)


class LSTM(nn.Module):
    def __init__(self, fan_in, width):
        super().__init__()
        self.width = width
        self.ih = nn.Linear(fan_in, 4 * width)  # in, forget, cell, out: torch's order
        self.hh = nn.Linear(width, 4 * width)

    def forward(self, x):  # (B, T, fan_in) -> (B, T, width)
        outputs = []
        h = c = x.new_zeros(len(x), self.width)
        for gates in self.ih(x).unbind(1):
            i, f, g, o = (gates + self.hh(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1)


CELLS = {"gru": GRU, "lstm": LSTM}


class RNN(nn.Module):
    def __init__(self, config: RNNConfig):
        super().__init__()
        *_, n_columns = config.input_shape
        fan_ins = [n_columns] + [config.width] * (config.depth - 1)
        self.drop = nn.Dropout(config.input_dropout)
        self.layers = nn.ModuleList(CELLS[config.cell](fan_in, config.width) for fan_in in fan_ins)
        self.drops = nn.ModuleList(nn.Dropout(config.dropout) for _ in fan_ins)
        self.head = nn.Linear(config.width, config.n_classes)

    def forward(self, x):  # (B, 1, 28, 28) -> (B, 10)
        x = self.drop(x.flatten(1, -2))  # (B, T, n_columns): all rows, channel after channel
        for layer, drop in zip(self.layers, self.drops, strict=True):
            x = drop(layer(x))
        return self.head(x[:, -1])
