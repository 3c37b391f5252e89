"""Uniform random numbers from the mask engine, for noise with a different rate per element."""

import torch
from torch import Tensor

from dropkit.random._multiply import multiply
from dropkit.random.dispatch import LEVELS


def uniform_like(
    x: Tensor,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a uniform float32 number u in (0, 1) for each element of ``x``.

    ``u = (word + ½)/2¹⁶`` with the 16-bit random words of ``keep_mask``. So ``keep_mask`` keeps an
    element iff ``u > p``, where p is the rounded rate.
    """
    ones = torch.ones_like(x, dtype=torch.float32, requires_grad=False)
    noise = multiply(ones, "gaussian", 0.5, seed=seed, stream=stream, generator=generator)
    # At rate 1/2 the noise on 1 is 1 + z, where z is the normal quantile of the word. The normal
    # distribution function inverts the quantile, and floor removes the rounding error.
    word: Tensor = torch.special.ndtr(noise - 1).mul(LEVELS).floor()
    return (word + 0.5) / LEVELS
