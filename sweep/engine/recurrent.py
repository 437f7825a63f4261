"""Runs stacked recurrent layers one by one, with torch's kernel for each and our dropout between.

torch draws the masks between stacked layers inside its kernel, where they cannot be replaced.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Drop = Callable[[Tensor, float], Tensor]


def layer_by_layer(function: Any, drop: Drop, x: Tensor, *args: Any) -> Any:
    """Do what torch.lstm, gru, rnn_tanh or rnn_relu does, layer by layer.

    They take (x, states, weights, biases, n_layers, p, train, bidirectional, batch_first), and for
    packed sequences (x, batch_sizes, states, weights, biases, n_layers, p, train, bidirectional).
    """
    packed = not isinstance(args[2], bool)
    sizes, (states, weights, biases, n, p, train, both) = (
        (args[:1] if packed else ()),
        (args[1:8] if packed else args[:7]),
    )
    if not train or n == 1:
        return function(x, *args)
    batch_first = False if packed else args[7]
    many = isinstance(states, list | tuple)  # h and c of an LSTM
    directions, per_layer = 1 + bool(both), len(weights) // n
    x = x.transpose(0, 1) if batch_first else x
    ends = []
    for layer in range(n):
        rows = slice(layer * directions, (layer + 1) * directions)
        own = [state[rows] for state in states] if many else states[rows]
        part = weights[layer * per_layer : (layer + 1) * per_layer]
        more = () if packed else (False,)
        x, *end = function(x, *sizes, own, part, biases, 1, 0.0, train, both, *more)
        ends.append(end)
        if layer < n - 1:
            x = drop(x, p)
    x = x.transpose(0, 1) if batch_first else x
    return x, *(torch.cat(last) for last in zip(*ends, strict=True))
