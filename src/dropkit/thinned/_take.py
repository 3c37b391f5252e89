"""Select parts of a tensor along several dimensions; the gradient is zero elsewhere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

#: Pairs of a dimension and the indices to keep along it.
Parts = Sequence[tuple[int, Tensor]]


def take(x: Tensor, parts: Parts) -> Tensor:
    """Return the part of ``x`` at the given indices of the given dimensions."""
    act = _cut if is_transformed() else _Take.apply
    for dim, index in parts:
        x = act(x, dim, index)
    return x


def put(x: Tensor, parts: Parts, shape: Sequence[int]) -> Tensor:
    """Return zeros of ``shape`` with ``x`` at the given indices; the reverse of ``take``."""
    act = _widen if is_transformed() else _Put.apply
    # Start with the last dimension: then the many short copies are small, and the remaining zeros
    # are one block.
    for dim, index in reversed(parts):
        x = act(x, dim, index, shape[dim])
    return x


def is_transformed() -> bool:
    """Whether a function transform or forward-mode differentiation is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


# Function transforms use these two functions directly. The autograd functions below are faster,
# because their gradients avoid index addition. But they have no jvp, which `torch.compile` does not
# support.


def _cut(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return x.index_select(dim, index)


def _widen(x: Tensor, dim: int, index: Tensor, size: int) -> Tensor:
    wider = list(x.shape)
    wider[dim] = size
    return x.new_zeros(wider).index_copy_(dim, index, x)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor) -> Tensor:
        ctx.dim, ctx.shape = dim, x.shape
        ctx.save_for_backward(index)
        return _cut(x, dim, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return put(grad, [(ctx.dim, *ctx.saved_tensors)], ctx.shape), None, None


class _Put(torch.autograd.Function):
    """The adjoint of ``_Take``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, index: Tensor, size: int) -> Tensor:
        ctx.dim = dim
        ctx.save_for_backward(index)
        return _widen(x, dim, index, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return take(grad, [(ctx.dim, *ctx.saved_tensors)]), None, None, None
