"""Standard normal numbers from the 16-bit words of the mask engine, equal on every device."""

from functools import cache

import torch
from torch import Tensor


@cache
def quantiles() -> Tensor:
    """Return the 65,536 normal values, float32: word w ↦ Φ⁻¹((w + ½)/2¹⁶), rounded to 2⁻²⁰.

    A table, not a formula, so that every device gives the same bits: a logarithm or a cosine
    differs between libraries in the last place. The mean is exactly 0 by symmetry; the values are
    stretched by 1 + 10⁻⁵, so that the variance is 1 to 2·10⁻⁹ in spite of the cut tails
    (|z| ≤ 4.33; the fourth moment is 2.9992 instead of 3).
    """
    level = (torch.arange(1 << 16, dtype=torch.float64, device="cpu") + 0.5) / (1 << 16)
    z = torch.special.ndtri(level)
    z = z / z.square().mean().sqrt()
    z = (z * 2**20).round() / 2**20
    # Symmetric by construction, whatever the library's rounding near 0 and 1.
    half = z[: 1 << 15]
    return torch.cat([half, -half.flip(0)]).float()
