"""Standard normal numbers from the 16-bit words of the mask engine, equal on every device."""

from functools import cache

import torch
from torch import Tensor


@cache
def quantiles() -> Tensor:
    """Return the 65,536 normal values, float32: word w ↦ Φ⁻¹((w + ½)/2¹⁶), rounded to 2⁻²⁰.

    A table gives the same bits on every device, while the last bit of a logarithm or cosine differs
    between libraries. The mean is exactly 0 by symmetry. The tails are cut at |z| ≤ 4.33; to
    compensate, the values are stretched by 1 + 10⁻⁵. So the variance differs from 1 by at most
    2·10⁻⁹; the fourth moment is 2.9992 instead of 3.
    """
    level = (torch.arange(1 << 16, dtype=torch.float64, device="cpu") + 0.5) / (1 << 16)
    z = torch.special.ndtri(level)
    z = z / z.square().mean().sqrt()
    z = (z * 2**20).round() / 2**20
    # Make the table symmetric, because the library may round differently near 0 and 1.
    half = z[: 1 << 15]
    return torch.cat([half, -half.flip(0)]).float()
