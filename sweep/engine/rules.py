"""What each of torch's dropout functions does as a site.

Formulas are torch's (aten/src/ATen/native/Dropout.cpp, and the documentation of each).
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sweep.engine.draws import DRAWS, Rule
from sweep.engine.recurrent import layer_by_layer

if TYPE_CHECKING:
    from sweep.engine.site import Sites

ALPHA = 1.7580993408473766  # of SELU: its scale times its alpha


def drop(sites: "Sites", x: Tensor, rate: float, name: str, in_place: bool = False) -> Tensor:
    site = sites.next_drop(name, rate := float(rate))
    if site is None:
        return x
    dropped = sites.source.drop(site, x, rate)
    return x.copy_(dropped) if in_place else dropped


def dropout(sites: "Sites", func: Any, input: Tensor, p: float, train: bool) -> Tensor:
    in_place = func.__name__.endswith("_")
    return drop(sites, input, p, "dropout", in_place) if train else input


def functional_dropout(
    sites: "Sites",
    func: Any,
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    return drop(sites, input, p, "dropout", inplace) if training else input


def native_dropout(
    sites: "Sites", func: Any, input: Tensor, p: float, train: bool | None = True
) -> tuple[Tensor, Tensor]:
    if train is False:
        return input, torch.ones_like(input, dtype=torch.bool)
    ones = drop(sites, torch.ones_like(input), p, "native_dropout")
    return input * ones, ones != 0


def feature_dropout(sites: "Sites", func: Any, input: Tensor, p: float, train: bool) -> Tensor:
    """Drop whole channels of (N, C, ...)."""
    site = sites.next_drop("feature_dropout", p := float(p)) if train else None
    if site is None:
        return input
    shape = torch.Size((*input.shape[:2], *[1] * (input.dim() - 2)))
    kept, rate = sites.source.kept(site, p, shape, input)
    dropped = input * (kept / (1 - rate) if isinstance(rate, Tensor) or rate < 1 else kept)
    return input.copy_(dropped) if func.__name__.endswith("_") else dropped


def alpha_dropout(sites: "Sites", func: Any, input: Tensor, p: float, train: bool) -> Tensor:
    """Set dropped units to SELU's lower limit; keep mean and variance (Klambauer et al. 2017)."""
    name = func.__name__.rstrip("_")
    site = sites.next_drop(name, p := float(p)) if train else None
    if site is None:
        return input
    channels = name.startswith("feature")
    shape = (*input.shape[:2], *[1] * (input.dim() - 2)) if channels else input.shape
    kept, rate = sites.source.kept(site, p, torch.Size(shape), input)
    if not isinstance(rate, Tensor) and rate == 1:
        dropped = input * 0
    else:
        a = ((ALPHA**2 * rate + 1) * (1 - rate)) ** -0.5
        dropped = input * (kept * a) + ((kept - 1) * (ALPHA * a) + ALPHA * a * rate)
    return input.copy_(dropped) if func.__name__.endswith("_") else dropped


def attention(
    sites: "Sites",
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute attention like torch's math backend, with our dropout on the weights."""
    site = sites.next_drop("scaled_dot_product_attention", rate := float(dropout_p))
    if site is None:
        how = {"scale": scale, "enable_gqa": enable_gqa}
        return func(query, key, value, attn_mask, 0.0, is_causal, **how)
    if enable_gqa:
        n = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(n, -3), value.repeat_interleave(n, -3)
    scores = query @ key.mT * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        allowed = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    weights = scores.softmax(-1) if attn_mask is None else _softmax_or_zero(scores)
    return sites.source.drop(site, weights, rate).to(value.dtype) @ value


def _softmax_or_zero(scores: Tensor) -> Tensor:
    """Return the weights of queries; one that may look nowhere has none, as in torch."""
    nowhere = (scores == -math.inf).all(-1, keepdim=True)
    return scores.masked_fill(nowhere, 0.0).softmax(-1).masked_fill(nowhere, 0.0)


def embedding(
    sites: "Sites", func: Any, weight: Tensor, indices: Tensor, padding_idx: int = -1, *rest: Any
) -> Tensor:
    """Look up embeddings; vmap loses padding_idx, so the padding row is detached here."""
    if padding_idx >= 0 and torch._C._functorch.is_batchedtensor(weight):
        row = torch.arange(weight.shape[0], device=weight.device)[:, None] == padding_idx
        weight = torch.where(row, weight.detach(), weight)
        padding_idx = -1
    return func(weight, indices, padding_idx, *rest)


def recurrent(sites: "Sites", func: Any, *args: Any) -> Any:
    return layer_by_layer(func, lambda x, p: drop(sites, x, p, func.__name__), *args)


V = torch._C._VariableFunctions
DROPOUTS: dict[Any, Rule] = {
    F.dropout: functional_dropout,
    V.native_dropout: native_dropout,
    torch._C._nn.scaled_dot_product_attention: attention,
    **{getattr(V, name): recurrent for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{
        getattr(V, name + place): rule
        for name, rule in (
            ("dropout", dropout),
            ("feature_dropout", feature_dropout),
            ("alpha_dropout", alpha_dropout),
            ("feature_alpha_dropout", alpha_dropout),
        )
        for place in ("", "_")
    },
}
RULES = {**DROPOUTS, **DRAWS, torch.embedding: embedding}
