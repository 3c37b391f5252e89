"""Parts of a tensor along some of its dimensions, with a gradient that is zero elsewhere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: The indices kept along each dimension that is cut.
Parts = Sequence[tuple[int, Tensor]]


def take(x: Tensor, parts: Parts) -> Tensor:
    """Return the part of ``x`` at the given indices of the given dimensions."""
    for dim, index in parts:
        x = _Take.apply(x, dim, index)  # type: ignore[no-untyped-call]
    return x


def put(x: Tensor, parts: Parts, shape: Sequence[int]) -> Tensor:
    """Return zeros of ``shape`` with ``x`` at the given indices: what ``take`` would take back."""
    # Last dimension first: the many short copies are of the part, the zeros of the rest come in
    # one piece.
    for dim, index in reversed(parts):
        x = _Put.apply(x, dim, shape[dim], index)  # type: ignore[no-untyped-call]
    return x


class _Take(torch.autograd.Function):
    """The gradient is written once, without index addition."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dim: int, index: Tensor) -> Tensor:
        return x.index_select(dim, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.dim, index = inputs
        ctx.size = x.shape[ctx.dim]
        ctx.save_for_backward(index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        return _Put.apply(grad, ctx.dim, ctx.size, index), None, None  # type: ignore[no-untyped-call]


class _Put(torch.autograd.Function):
    """The adjoint of ``_Take``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dim: int, size: int, index: Tensor) -> Tensor:
        wider = list(x.shape)
        wider[dim] = size
        return x.new_zeros(wider).index_copy_(dim, index, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.dim, _, index = inputs
        ctx.save_for_backward(index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        return _Take.apply(grad, ctx.dim, index), None, None, None  # type: ignore[no-untyped-call]
