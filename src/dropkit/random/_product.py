"""The product of a tensor with its noise, computed: no autograd, no tracing."""

import math
import threading
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.random import dispatch
from dropkit.random.mask import scale, threshold

Kind = Literal["bernoulli", "gaussian"]


class _Listeners(threading.local):
    """Who in this thread is told of each product: its input, its seed, the dimensions shared."""

    product: Callable[[Tensor, Tensor, tuple[int, ...]], None] | None = None


listeners = _Listeners()


def check_rate(p: float, kind: Kind) -> float:
    """Return ``p`` as a float if noise of this kind exists at that rate."""
    p = check_probability(p)
    if kind == "gaussian" and p == 1.0:
        raise ValueError(
            "p must lie in [0, 1) for Gaussian noise, got 1: its variance p/(1 - p) is infinite; "
            "Dropout(1.0) gives zeros"
        )
    return p


def product(
    x: Tensor, seed: Tensor, p: float, kind: Kind, stream: int, shared: tuple[int, ...]
) -> Tensor:
    """Compute the product. A seed of shape (…) goes with that many leading dimensions of x."""
    if listeners.product is not None:
        listeners.product(x, seed, shared)
    if p == 0.0:
        return x.clone()
    if shared:
        return _shared(x, seed, p, kind, stream, shared)
    return _dense(x, seed, p, kind, stream)


def _dense(x: Tensor, seed: Tensor, p: float, kind: Kind, stream: int) -> Tensor:
    dense = x if x.is_contiguous() and not x.is_neg() else x.contiguous().resolve_neg()
    if kind == "bernoulli":
        limit = threshold(p)
        y = dispatch.drop(dense, limit, scale(limit), seed, stream)
    else:
        y = dispatch.blur(dense, math.sqrt(p / (1 - p)), seed, stream)
    return y if dense is x else torch.empty_like(x).copy_(y)


def _shared(
    x: Tensor, seed: Tensor, p: float, kind: Kind, stream: int, shared: tuple[int, ...]
) -> Tensor:
    shape = list(x.shape)
    for dim in shared:
        shape[seed.dim() + dim] = min(1, shape[seed.dim() + dim])
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    noise = _dense(torch.ones(shape, dtype=exact, device=x.device), seed, p, kind, stream)
    y = (x * noise).to(x.dtype)
    return y.masked_fill_(noise == 0, 0) if kind == "bernoulli" else y
