"""Gaussian dropout: multiplicative normal noise with the mean and variance of dropout's."""

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
        p: the rate of the dropout whose variance the noise has, in [0, 1). Pass a scalar tensor to
            change it without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        seed: 64 bits that fix the noise. Default: drawn from torch's default generator.
        stream: independent noise under one seed. Default: 0, and the data-parallel rank if the seed
            is drawn.
        generator: a generator to draw the seed from instead.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed or stream out of range (p = 1 too: the variance would be infinite);
            both seed and generator given.

    >>> gaussian_dropout(torch.ones(4), 0.5, seed=0)
    tensor([2.3377, 0.7442, 1.7444, 2.1776])

    Reference: Srivastava et al. (2014), section 10. z takes 65,536 values, the normal
    distribution's quantiles, equally often: mean 0, variance 1 to 2·10⁻⁹, |z| ≤ 4.33.
    """
    if not training:
        return x
    return multiply(x, "gaussian", p, seed=seed, stream=stream, generator=generator)


class GaussianDropout(MultiplicativeNoise):
    """Gaussian dropout as a layer: multiplies by N(1, p/(1 − p)) while training.

    ``y = x ⊙ m``, E m = 1, Var m = p/(1 − p); the identity in evaluation.

    Args:
        p: the rate of the dropout whose variance the noise has, in [0, 1).

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
