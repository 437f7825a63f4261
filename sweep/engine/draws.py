"""What each of torch's other random functions does as a site: the same for all rates of a seed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sweep.engine.site import Sites

Rule = Callable[..., Any]


def _left_alone(sites: "Sites", kwargs: dict[str, Any]) -> bool:
    """Return whether a draw is left to torch: forward seeded torch, or gives a generator or `out`.

    Removes both from kwargs if they are None.
    """
    for name in ("generator", "out"):
        if kwargs.get(name, ...) is None:
            del kwargs[name]
    return "generator" in kwargs or "out" in kwargs or sites.seeded_by_model


def _below_one(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Round uniform numbers to a dtype without reaching 1."""
    return numbers.to(dtype).clamp_(max=1 - torch.finfo(dtype).eps / 2)


def _normal(numbers: Tensor) -> Tensor:
    return torch.special.ndtri(numbers.double() + 2**-25)


def make(sites: "Sites", func: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Return a tensor of random numbers: rand, randn, rand_like and randn_like."""
    name = func.__name__
    empty = torch.empty_like if name.endswith("_like") else torch.empty
    if _left_alone(sites, kwargs) or not (made := empty(*args, **kwargs)).is_floating_point():
        return func(*args, **kwargs)
    numbers = sites.source.uniform(sites.next(), made.shape).to(made.device)
    if name.startswith("randn"):
        filled = _normal(numbers).to(made.dtype)
    else:
        filled = _below_one(numbers, made.dtype)
    return filled.requires_grad_() if kwargs.get("requires_grad") else filled


def bernoulli(
    sites: "Sites", func: Any, input: Tensor, p: float | None = None, **kwargs: Any
) -> Tensor:
    if _left_alone(sites, kwargs):
        return func(input, **({} if p is None else {"p": p}), **kwargs)
    numbers = sites.source.uniform(sites.next(), input.shape).to(input.device)
    return (numbers < (input if p is None else p)).to(input.dtype)


def bernoulli_(
    sites: "Sites", func: Any, input: Tensor, p: float | Tensor = 0.5, **kwargs: Any
) -> Tensor:
    if _left_alone(sites, kwargs):
        return func(input, p, **kwargs)
    numbers = sites.source.uniform(sites.next(), input.shape).to(input.device)
    return sites.source.fill(input, (numbers < p).to(input.dtype))


def fill(sites: "Sites", func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Fill a tensor with random numbers: uniform_, normal_ and exponential_."""
    if _left_alone(sites, kwargs) or not input.is_floating_point():
        return func(input, *args, **kwargs)
    first, second = FILLS[func.__name__](
        *args, **{k: v for k, v in kwargs.items() if v is not None}
    )
    numbers = sites.source.uniform(sites.next(), input.shape).to(input.device)
    if func.__name__ == "uniform_":
        filled = first + _below_one(numbers, input.dtype) * (second - first)
    elif func.__name__ == "normal_":
        filled = first + _normal(numbers) * second
    else:
        filled = -(numbers.double() + 2**-25).log() / first
    return sites.source.fill(input, filled.to(input.dtype))


Two = tuple[float, float]


def _uniform_ends(*args: float, **kwargs: float) -> Two:
    low, high = (*args, *(0.0, 1.0)[len(args) :])
    return kwargs.get("from", low), kwargs.get("to", high)


def _mean_and_std(mean: float = 0.0, std: float = 1.0) -> Two:
    return mean, std


def _rate(lambd: float = 1.0) -> Two:
    return lambd, 0.0


FILLS: dict[str, Callable[..., Two]] = {
    "uniform_": _uniform_ends,
    "normal_": _mean_and_std,
    "exponential_": _rate,
}


DRAWS: dict[Any, Rule] = {
    **dict.fromkeys((torch.rand, torch.rand_like, torch.randn, torch.randn_like), make),
    **dict.fromkeys((torch.bernoulli, Tensor.bernoulli), bernoulli),
    Tensor.bernoulli_: bernoulli_,
    **dict.fromkeys((Tensor.uniform_, Tensor.normal_, Tensor.exponential_), fill),
}
