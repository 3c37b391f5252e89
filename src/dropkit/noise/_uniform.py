"""Uniform numbers from the mask engine, for noise whose rate differs from element to element."""

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
    """Return a float32 number in (0, 1) for each element of ``x``: ``(word + ½)/2¹⁶``.

    The words are those of ``keep_mask``: it keeps an element iff ``u > p``, p rounded as there.
    """
    ones = torch.ones_like(x, dtype=torch.float32, requires_grad=False)
    noise = multiply(ones, "gaussian", 0.5, seed=seed, stream=stream, generator=generator)
    # At rate 1/2 the noise on 1 is 1 + z, z the normal quantile of the word; the normal
    # distribution function leads back to the word, and floor takes off all rounding.
    word: Tensor = torch.special.ndtr(noise - 1).mul(LEVELS).floor()
    return (word + 0.5) / LEVELS
