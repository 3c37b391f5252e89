"""Parts of a tensor along some of its dimensions, with a gradient that is zero elsewhere."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: The indices kept along each dimension that is cut.
Parts = Sequence[tuple[int, Tensor]]


def take(x: Tensor, parts: Parts) -> Tensor:
    """Return the part of ``x`` at the given indices of the given dimensions."""
    dims, indices = zip(*parts, strict=True)
    return _Take.apply(x, dims, *indices)  # type: ignore[no-any-return, no-untyped-call]


def put(x: Tensor, parts: Parts, shape: Sequence[int]) -> Tensor:
    """Return zeros of ``shape`` with ``x`` at the given indices: what ``take`` would take back."""
    dims, indices = zip(*parts, strict=True)
    return _Put.apply(x, tuple(shape), dims, *indices)  # type: ignore[no-any-return, no-untyped-call]


class _Take(torch.autograd.Function):
    """One function for all dimensions: the gradient is written once, without index addition."""

    @staticmethod
    def forward(x: Tensor, dims: tuple[int, ...], *indices: Tensor) -> Tensor:
        for dim, index in zip(dims, indices, strict=True):
            x = x.index_select(dim, index)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.dims, *indices = inputs
        ctx.shape = x.shape
        ctx.save_for_backward(*indices)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        indices = ctx.saved_tensors
        full = _Put.apply(grad, ctx.shape, ctx.dims, *indices)  # type: ignore[no-untyped-call]
        return full, None, *(None for _ in indices)


class _Put(torch.autograd.Function):
    """The adjoint of ``_Take``."""

    @staticmethod
    def forward(
        x: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], *indices: Tensor
    ) -> Tensor:
        # Last dimension first: the many short copies are of the part, the zeros of the rest come
        # in one piece.
        for dim, index in reversed(list(zip(dims, indices, strict=True))):
            wider = list(x.shape)
            wider[dim] = shape[dim]
            x = x.new_zeros(wider).index_copy_(dim, index, x)
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, _, ctx.dims, *indices = inputs
        ctx.save_for_backward(*indices)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        indices = ctx.saved_tensors
        part = _Take.apply(grad, ctx.dims, *indices)  # type: ignore[no-untyped-call]
        return part, None, None, *(None for _ in indices)
