"""Compare tensors up to rounding."""

import torch
from torch import Tensor


def are_close(left: Tensor, right: Tensor) -> bool:
    """Whether tensors are equal, up to rounding by a different order of summation."""
    if left.shape != right.shape:
        return False
    if not left.is_floating_point():
        return torch.equal(left, right)
    scale = float(left.nan_to_num(0, 0, 0).abs().max()) if left.numel() else 0.0
    slack = torch.finfo(left.dtype).eps ** 0.5 * scale
    return torch.allclose(left, right, rtol=0, atol=slack, equal_nan=True)
