"""Mean and variance of dropout and of weighted sums: exact, if the units are independent."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropkit.analytic._rules.gaussian import Gaussian
from dropkit.noise._base import dropout_variance


def multiply(x: Gaussian, p: float) -> Gaussian:
    """Multiply by noise of mean 1 and variance v = p/(1 − p): ``Var = v (m² + s²) + s²``."""
    if p == 1:  # the output is always 0
        return Gaussian(torch.zeros_like(x.mean), torch.zeros_like(x.variance))
    v = dropout_variance(p)
    return Gaussian(x.mean, torch.addcmul((1 + v) * x.variance, x.mean, x.mean, value=v))


def linear(x: Gaussian, weight: Tensor, bias: Tensor | None = None) -> Gaussian:
    """Return mean ``W m + b`` and variance ``W² s²``."""
    return Gaussian(F.linear(x.mean, weight, bias), F.linear(x.variance, weight.square()))


def convolution(layer: Any, x: Gaussian) -> Gaussian:
    """Convolve the means with W, and the variances with W²."""
    return Gaussian(
        layer._conv_forward(x.mean, layer.weight, layer.bias),
        layer._conv_forward(x.variance, layer.weight.square(), None),
    )


def batch_norm(layer: Any, x: Gaussian) -> Gaussian:
    """Batch normalization with the running statistics: an affine map of every channel."""
    scale = (layer.running_var + layer.eps).rsqrt()
    if layer.weight is not None:
        scale = scale * layer.weight
    shift = -layer.running_mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias
    shape = (-1, *[1] * (x.mean.dim() - 2))
    scale, shift = scale.view(shape), shift.view(shape)
    return Gaussian(x.mean * scale + shift, x.variance * scale.square())


def add(x: Any, other: Any, *, alpha: float = 1) -> Gaussian:
    """``x + α other``; variances add up."""
    if alpha != 1:
        other = mul(other, alpha) if isinstance(other, Gaussian) else alpha * other
    x, other = (t if isinstance(t, Gaussian) else Gaussian(t, 0.0) for t in (x, other))  # type: ignore[arg-type]
    mean = x.mean + other.mean
    return Gaussian(mean, (x.variance + other.variance).expand_as(mean))


def sub(x: Any, other: Any, *, alpha: float = 1) -> Gaussian:
    """``x − α other``; variances add up."""
    return add(x, other, alpha=-alpha)


def mul(x: Any, other: Any) -> Gaussian:
    """Multiply by a constant."""
    if not isinstance(x, Gaussian):
        x, other = other, x
    mean = x.mean * other
    return Gaussian(mean, (x.variance * (other * other)).expand_as(mean))


def truediv(x: Gaussian, other: Any) -> Gaussian:
    """Divide by a constant."""
    return Gaussian(x.mean / other, x.variance / (other * other))


def neg(x: Gaussian) -> Gaussian:
    """``−x``."""
    return Gaussian(-x.mean, x.variance)


def total(x: Gaussian, *args: Any, **kwargs: Any) -> Gaussian:
    """Sum over dimensions; variances add up."""
    return Gaussian(x.mean.sum(*args, **kwargs), x.variance.sum(*args, **kwargs))


def mean(x: Gaussian, *args: Any, **kwargs: Any) -> Gaussian:
    """Mean over n entries: ``Var = Σ s² / n²``."""
    averaged = x.mean.mean(*args, **kwargs)
    entries = x.mean.numel() / max(averaged.numel(), 1)
    return Gaussian(averaged, x.variance.mean(*args, **kwargs) / entries)
