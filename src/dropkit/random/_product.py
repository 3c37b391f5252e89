"""Compute the product of a tensor with noise, without autograd and tracing."""

import math
import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.random import dispatch
from dropkit.random.mask import scale, threshold

Kind = Literal["bernoulli", "gaussian"]


class Noise(NamedTuple):
    """A kind of noise at a rate, with the parameters of the kernels."""

    kind: Kind
    p: float
    threshold: int  # Bernoulli: number of words that drop
    factor: float  # Bernoulli: factor of kept elements; Gaussian: standard deviation

    @property
    def packed(self) -> int:
        """The noise parameters as one int64, which is stored on a device next to the seed.

        Bernoulli: the threshold in the high bits, and the float32 factor in the low 32 bits.
            Gaussian: the float64 factor.
        """
        if self.kind == "gaussian":
            return _number("<q", struct.pack("<d", self.factor))
        return self.threshold << 32 | _number("<I", struct.pack("<f", self.factor))


def _number(form: str, data: bytes) -> int:
    number: int = struct.unpack(form, data)[0]
    return number


@lru_cache(maxsize=1024)
def noise(p: float, kind: Kind) -> Noise:
    """Return the noise of a kind at rate ``p``.

    >>> noise(0.5, "bernoulli")
    Noise(kind='bernoulli', p=0.5, threshold=32768, factor=2.0)
    """
    p = check_rate(p, kind)
    if kind == "gaussian":
        return Noise(kind, p, 0, math.sqrt(p / (1 - p)))
    limit = threshold(p)
    return Noise(kind, p, limit, scale(limit))


def unpacked(packed: int, kind: Kind) -> Noise:
    """Return the noise with these packed parameters.

    >>> unpacked(noise(0.25, "bernoulli").packed, "bernoulli") == noise(0.25, "bernoulli")
    True
    """
    if kind == "gaussian":
        sigma = struct.unpack("<d", struct.pack("<q", packed))[0]
        return Noise(kind, sigma**2 / (1 + sigma**2), 0, sigma)
    return noise((packed >> 32) / dispatch.LEVELS, kind)


class _Listeners(threading.local):
    """The listener of this thread, which is called with input, seed and shared dimensions."""

    product: Callable[[Tensor, Tensor, tuple[int, ...]], None] | None = None


listeners = _Listeners()


def check_rate(p: float, kind: Kind) -> float:
    """Return ``p`` as a float if this kind of noise supports the rate; otherwise raise."""
    p = check_probability(p)
    if kind == "gaussian" and p == 1.0:
        raise ValueError(
            "p must lie in [0, 1) for Gaussian noise, got 1: its variance p/(1 - p) is infinite; "
            "Dropout(1.0) gives zeros"
        )
    return p


def product(
    x: Tensor, seed: Tensor | int, noise: Noise, stream: int, shared: tuple[int, ...]
) -> Tensor:
    """Compute the product. The dimensions of a seed tensor are the leading dimensions of x."""
    if listeners.product is not None and isinstance(seed, Tensor):
        listeners.product(x, seed, shared)
    if noise.p == 0.0:
        return x.clone()
    if shared:
        parts = seed.dim() if isinstance(seed, Tensor) else 0
        return _shared(x, parts, shared, noise.kind, _drawn, seed, noise, stream)
    return _dense(x, _drawn, seed, noise, stream)


def product_by_key(
    x: Tensor, key: Tensor, kind: Kind, stream: int, shared: tuple[int, ...]
) -> Tensor:
    """Multiply ``x`` by noise with the seeds and settings in ``key``, int64 of shape (…, 2)."""
    if not key.numel():
        return torch.empty_like(x)
    key = key.to(x.device)
    if dispatch.backend(x.device) != "triton":
        return product(x, key[..., 0], unpacked(int(key.flatten()[1]), kind), stream, shared)
    gaussian = kind == "gaussian"  # the kernel reads the rate on the device
    if shared:
        return _shared(x, key.dim() - 1, shared, kind, dispatch.by_key, key, gaussian, stream)
    return _dense(x, dispatch.by_key, key, gaussian, stream)


def _drawn(x: Tensor, seed: Tensor | int, noise: Noise, stream: int) -> Tensor:
    if noise.kind == "gaussian":
        return dispatch.blur(x, noise.factor, seed, stream)
    return dispatch.drop(x, noise.threshold, noise.factor, seed, stream)


def _dense(x: Tensor, compute: Callable[..., Tensor], *rest: Any) -> Tensor:
    if x.is_contiguous() and not x.is_neg():
        return compute(x, *rest)
    return torch.empty_like(x).copy_(compute(x.contiguous().resolve_neg(), *rest))


def _shared(
    x: Tensor, parts: int, shared: tuple[int, ...], kind: Kind, compute: Any, *rest: Any
) -> Tensor:
    shape = list(x.shape)
    for dim in shared:
        shape[parts + dim] = min(1, shape[parts + dim])
    exact = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = compute(torch.ones(shape, dtype=exact, device=x.device), *rest)
    y: Tensor = (x * factor).to(x.dtype)
    return y.masked_fill_(factor == 0, 0) if kind == "bernoulli" else y
