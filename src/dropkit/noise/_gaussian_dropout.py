"""Gaussian dropout: multiplicative normal noise with the same mean and variance as dropout."""

import torch
from torch import Tensor

from dropkit.noise._base import MultiplicativeNoise, dropout_variance
from dropkit.random._multiply import multiply
from dropkit.random._product import check_rate


def gaussian_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Multiply each element by normal noise of mean 1 and variance p/(1 − p).

    ``y = x ⊙ m``, m = 1 + √(p/(1 − p))·z with z ~ N(0, 1).

    Args:
        x: float32, float64, bfloat16 or float16; any shape.
        p: drop rate, in [0, 1); the noise has the variance of dropout at this rate. Pass a scalar
            tensor to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        seed: random seed of the noise, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent noise. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed or stream out of range (p = 1 is out of range, because the variance
            would be infinite); both seed and generator given.

    >>> gaussian_dropout(torch.ones(4), 0.5, seed=0)
    tensor([2.3377, 0.7442, 1.7444, 2.1776])

    Reference: Srivastava et al. (2014), section 10. z is one of 65,536 equally likely quantiles of
    the normal distribution: its mean is 0, its variance differs from 1 by at most 2·10⁻⁹, and |z| ≤
    4.33.
    """
    if not training:
        return x
    return multiply(x, "gaussian", p, seed=seed, stream=stream, generator=generator)


class GaussianDropout(MultiplicativeNoise):
    """Gaussian dropout as a layer: multiplies by N(1, p/(1 − p)) while training.

    ``y = x ⊙ m``, E m = 1, Var m = p/(1 − p). In evaluation, the layer is the identity.

    Args:
        p: drop rate, in [0, 1); the noise has the variance of dropout at this rate.

    Raises:
        ValueError: p outside [0, 1); at p = 1 the variance would be infinite.

    >>> GaussianDropout(0.2).variance
    0.25

    Reference: Srivastava et al. (2014), section 10.
    """

    @staticmethod
    def _checked(p: float) -> float:
        return check_rate(p, "gaussian")

    @property
    def variance(self) -> float:
        """Variance of the noise, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with fresh noise, in training and in evaluation."""
        return multiply(x, "gaussian", self._rate, seed=self.seed)
