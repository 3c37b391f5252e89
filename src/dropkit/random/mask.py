"""Compute keep masks, and round rates to multiples of 1/65,536."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.random import dispatch
from dropkit.random.dispatch import LEVELS
from dropkit.random.seed import as_seed, as_stream


def threshold(p: float) -> int:
    """Return how many of the 65,536 random words drop an element: p·2¹⁶, rounded half to even.

    >>> threshold(0.5), threshold(0.1), threshold(1.0)
    (32768, 6554, 65536)
    """
    return round(LEVELS * p)


def scale(threshold: int) -> float:
    """Return the factor of kept elements: one over the share of words that keep an element.

    The share is computed from the rounded rate, so the noise has mean 1 exactly. If no word keeps
    an element, return 0.

    >>> scale(threshold(0.5)), scale(65536)
    (2.0, 0.0)
    """
    kept = LEVELS - threshold
    return LEVELS / kept if kept else 0.0


def keep_mask(
    shape: int | Sequence[int],
    p: float,
    *,
    seed: int | Tensor,
    stream: int = 0,
    offset: int = 0,
    device: torch.device | str | None = None,
) -> Tensor:
    """Return a mask of ``shape``: element i is kept iff ``word(seed, stream, i) ≥ p·2¹⁶``.

    ``word`` is a 16-bit random number from Philox. The mask only depends on the arguments, not on
    the device or the number of threads. With ``offset``, the mask of a part of a tensor equals this
    part of the whole tensor's mask.

    Args:
        shape: shape of the mask; i is the index of an element in row-major order.
        p: probability of dropping, in [0, 1]; rounded to a multiple of 2⁻¹⁶.
        seed: an int in [0, 2⁶⁴), or a scalar tensor from ``draw_seed``.
        stream: index of the random stream, in [0, 2⁶⁴); each stream of a seed gives independent
            masks.
        offset: index of the first element, for a mask that is part of a larger one.
        device: device of the result. Default: CPU.

    Returns:
        A bool tensor, true where the element is kept.

    Raises:
        ValueError: p outside [0, 1]; a negative shape; seed, stream or offset out of range.

    >>> keep_mask((2, 8), 0.5, seed=0).int()
    tensor([[1, 0, 1, 1, 1, 1, 1, 1],
            [1, 1, 0, 0, 0, 1, 1, 0]], dtype=torch.int32)
    >>> whole = keep_mask(1000, 0.3, seed=7, stream=2)
    >>> bool((whole[600:] == keep_mask(400, 0.3, seed=7, stream=2, offset=600)).all())
    True
    """
    size = torch.Size([shape] if isinstance(shape, int) else shape)
    if any(length < 0 for length in size):
        raise ValueError(f"shape must not be negative, got {tuple(size)}")
    limit = threshold(check_probability(p))
    if offset < 0 or offset + math.prod(size) > 1 << 63:
        raise ValueError(f"offset must lie in [0, 2**63 - elements], got {offset}")
    key = as_seed(seed, device)
    if key.dim():
        raise ValueError(f"seed must be an int or a scalar tensor, got shape {tuple(key.shape)}")
    mask = dispatch.mask(math.prod(size), limit, key, as_stream(stream), offset)
    return mask.view(size)
