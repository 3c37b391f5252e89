"""Mean and variance of an activation whose input is normal, N(m, v).

Rectifiers have closed forms. Smooth activations use Gauss–Hermite quadrature for small v, which is
exact as v → 0. For large v, where quadrature would need many nodes, they use a closed form.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.special import ndtr

from dropkit.analytic._rules.gaussian import Gaussian

#: The logistic function as a mixture of normal distribution functions, Σ wᵢ Φ(x / λᵢ). For inputs
#: with variance 1 or more, the expectations of the function and of its derivative have errors below
#: 1.4e-5.
_SCALES = (1.1574025053256882, 1.8356002686575077, 2.881214861970212)
_WEIGHTS = (0.3263195491589637, 0.5558211512012616, 0.11785929963977447)

# Beyond this number of standard deviations, the other side of a kink is below the precision of
# float64. A larger number would give subnormal products of φ and a small gradient, which are a
# hundred times slower.
_FAR = 8.0


def _rule(nodes: int) -> list[tuple[float, float]]:
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return list(zip(at.tolist(), (weights / weights.sum()).tolist(), strict=True))


_FEW, _MANY = _rule(8), _rule(16)


def density(x: Tensor) -> Tensor:
    """Return φ(x), the standard normal density."""
    return torch.exp(x * x * -0.5) / math.sqrt(2 * math.pi)


def deviation(variance: Tensor) -> Tensor:
    """Return √v, with gradient 0 instead of ∞ at v = 0."""
    positive = variance > 0
    return torch.where(positive, variance, 1.0).sqrt() * positive


def quadrature(f: Callable[[Tensor], Tensor], x: Gaussian, *, fine: bool = False) -> Gaussian:
    """Return the moments of f(x) by Gauss–Hermite quadrature with 8 nodes, or 16 if ``fine``."""
    s = deviation(x.variance)
    rule = _MANY if fine else _FEW
    middle, nothing = f(x.mean), torch.zeros_like(s)
    # Differences are exact at v = 0, and avoid cancellation in the variance.
    apart = [f(x.mean + z * s) - middle for z, _ in rule]
    weights = [w for _, w in rule]
    shift = sum((w * y for w, y in zip(weights, apart, strict=True)), nothing)
    squares = (w * (y - shift).square() for w, y in zip(weights, apart, strict=True))
    return Gaussian(middle + shift, sum(squares, nothing))


def _smooth(
    f: Callable[[Tensor], Tensor],
    x: Gaussian,
    wide: Callable[[Gaussian], Gaussian],
    least: float = 1.0,
) -> Gaussian:
    """Return the moments of f(x), by ``wide`` where the variance is ``least`` or more."""
    m, v = x
    narrow = (v < least) | (m * m > _FAR**2 * v)
    # Each formula gets harmless values where the other formula is used, so that no gradient is NaN.
    a = quadrature(f, Gaussian(m, torch.where(narrow, v, 0.0)))
    b = wide(Gaussian(torch.where(narrow, 0.0, m), torch.where(narrow, least, v)))
    mean = torch.where(narrow, a.mean, b.mean)
    return Gaussian(mean, torch.where(narrow, a.variance, b.variance.clamp(min=0)))


def _tail(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For z ~ N(0, 1) and a ≥ 0: P(z > a), and the mean and variance of max(z − a, 0)."""
    beyond = ndtr(-a)
    phi = density(a)
    mean = phi - a * beyond
    return beyond, mean, ((a * a + 1) * beyond - a * phi - mean * mean).clamp(min=0)


def relu(x: Gaussian) -> Gaussian:
    """Rectified linear unit: exact, ``E = m Φ + s φ`` at m/s, ``Var = s² Φ + E (m − E)``."""
    m, v = x
    near = m * m < _FAR**2 * v
    m_near, v_near = torch.where(near, m, 0.0), torch.where(near, v, 1.0)
    s = v_near.sqrt()
    a = m_near / s
    above = ndtr(a)
    mean = torch.addcmul(s * density(a), m_near, above)
    variance = torch.addcmul(v_near * above, mean, m_near - mean).clamp(min=0)
    return Gaussian(torch.where(near, mean, F.relu(m)), torch.where(near, variance, v * (m > 0)))


def maximum(x: Gaussian, y: Gaussian) -> Gaussian:
    """Maximum of two independent units (Clark 1961): exact moments of a non-normal variable."""
    first = x.mean >= y.mean
    upper = [torch.where(first, a, b) for a, b in zip(x, y, strict=True)]
    lower = [torch.where(first, b, a) for a, b in zip(x, y, strict=True)]
    d, v = upper[0] - lower[0], upper[1] + lower[1]
    near = d * d < _FAR**2 * v
    d_near, v_near = torch.where(near, d, 0.0), torch.where(near, v, 1.0)
    s = v_near.sqrt()
    beyond, mean, variance = _tail(d_near / s)
    mixed = upper[1] * (1 - beyond) + lower[1] * beyond + v_near * (variance - beyond)
    return Gaussian(
        upper[0] + torch.where(near, s * mean, 0.0),
        torch.where(near, mixed.clamp(min=0), upper[1]),
    )


def sigmoid(x: Gaussian) -> Gaussian:
    """Logistic function: errors below 2e-5 in mean and variance."""
    return _smooth(torch.sigmoid, x, _wide_sigmoid)


def _wide_sigmoid(x: Gaussian) -> Gaussian:
    m, v = x
    mean = slope = torch.zeros_like(m)
    for scale, weight in zip(_SCALES, _WEIGHTS, strict=True):
        root = (v + scale**2).sqrt()
        mean = mean + weight * ndtr(m / root)
        slope = slope + weight * density(m / root) / root
    return Gaussian(mean, mean - slope - mean * mean)  # σ² = σ − σ'


def tanh(x: Gaussian) -> Gaussian:
    """Hyperbolic tangent, 2σ(2x) − 1: errors below 8e-5 in mean and variance."""

    def wide(x: Gaussian) -> Gaussian:
        mean, variance = _wide_sigmoid(Gaussian(2 * x.mean, 4 * x.variance))
        return Gaussian(2 * mean - 1, 4 * variance)

    return _smooth(torch.tanh, x, wide, least=0.25)


def softplus_mean(x: Gaussian) -> Tensor:
    """Return E log(1 + eˣ): error below 1e-4."""

    def wide(x: Gaussian) -> Gaussian:
        parts = [
            w * relu(Gaussian(x.mean, x.variance + scale**2)).mean
            for scale, w in zip(_SCALES, _WEIGHTS, strict=True)
        ]
        return Gaussian(sum(parts, torch.zeros_like(x.mean)), torch.zeros_like(x.mean))

    return _smooth(F.softplus, x, wide).mean


def gelu(x: Gaussian, approximate: str = "none") -> Gaussian:
    """Return the moments of GELU, x Φ(x), to 1e-6, or for its tanh form to 1e-3."""
    return _smooth(lambda t: F.gelu(t, approximate=approximate), x, _wide_gelu, least=0.25)


def _wide_gelu(x: Gaussian) -> Gaussian:
    m, v = x
    root = (1 + v).sqrt()
    h = m / root
    k = h / (1 + 2 * v).sqrt()
    peak = density(h) / root  # E φ(x); then E Φ², E φΦ, E xφΦ and E xΦ², each at x
    squared = ndtr(h) - 2 * _owen(h, (1 + 2 * v).rsqrt())
    both = peak * ndtr(k)
    weighted = m / (1 + v) * both + peak * v / root / (1 + 2 * v).sqrt() * density(k)
    once = m * squared + 2 * v * both
    mean = m * ndtr(h) + v * peak
    return Gaussian(mean, m * once + v * (squared + 2 * weighted) - mean * mean)


def _owen(h: Tensor, a: Tensor) -> Tensor:
    """Owen's T function for 0 ≤ a ≤ 0.6, by Gauss–Legendre quadrature."""
    total = torch.zeros_like(h)
    for at, weight in zip(*np.polynomial.legendre.leggauss(8), strict=True):
        one = 1 + (a * float(at + 1) / 2).square()
        total = total + float(weight) / 2 * torch.exp(-0.5 * h * h * one) / one
    return total * a / (2 * math.pi)
