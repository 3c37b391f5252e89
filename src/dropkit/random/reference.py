"""The reference: masks and products in torch operations, on any device."""

import torch
from torch import Tensor

from dropkit.random.normal import quantiles
from dropkit.random.philox import words


def mask(count: int, threshold: int, seed: Tensor, stream: int, offset: int) -> Tensor:
    """Return which of the elements ``offset … offset + count`` are kept, as a flat bool tensor."""
    kept = torch.empty(count, dtype=torch.bool, device=seed.device)
    start = 0
    for drawn in words(count, seed, stream, offset):
        torch.ge(drawn, threshold, out=kept[start : start + len(drawn)])
        start += len(drawn)
    return kept


def drop(x: Tensor, threshold: int, scale: float, seeds: Tensor, stream: int) -> Tensor:
    """Return ``x · scale`` where the word reaches the threshold and 0 elsewhere, row by row."""
    y = torch.empty_like(x)
    for row, out, seed in zip(x, y, seeds, strict=True):
        start = 0
        for drawn in words(len(row), seed, stream):
            part = slice(start, start := start + len(drawn))
            torch.mul(row[part], scale, out=out[part]).masked_fill_(drawn < threshold, 0)
    return y


def blur(x: Tensor, sigma: float, seeds: Tensor, stream: int) -> Tensor:
    """Return ``x · (1 + sigma · z)`` row by row, z the normal numbers of the words.

    float64 is computed in float64 and everything else in float32, rounded once at the end.
    """
    y = torch.empty_like(x)
    table = quantiles().to(x.device, torch.float64 if x.dtype == torch.float64 else torch.float32)
    for row, out, seed in zip(x, y, seeds, strict=True):
        start = 0
        for drawn in words(len(row), seed, stream):
            part = slice(start, start := start + len(drawn))
            out[part] = table[drawn].mul_(sigma).add_(1).mul_(row[part])
    return y
