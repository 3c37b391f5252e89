"""A linear map of the kept units of each group of rows, with its own gradient.

The matrices are small, so copying them takes a large part of the time. Therefore the part of the
weight is copied once for both passes, and the matrix product includes the factor of dropout.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dropkit.thinned import _matrix as matrix
from dropkit.thinned._take import is_transformed, put, take

#: The kept indices of each group, or None for all.
Kept = Sequence[Tensor] | None


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: Kept,
    columns: Kept,
    scale: float,
) -> Tensor:
    """Return ``scale · W[K, L] x + b[K]``; K (``rows``) and L (``columns``) differ between groups.

    Args:
        x: (N, …, kept inputs), in the order of the groups, or (kept inputs).
        weight: (outputs, inputs).
        bias: (outputs) or None.
        rows: indices of the kept outputs.
        columns: indices of the kept inputs.
        scale: factor of the inputs.
    """
    if _is_plain(x, weight):
        return _Linear.apply(x, weight, bias, rows, columns, scale)  # type: ignore[no-any-return, no-untyped-call]
    return by_group(F.linear, x, weight, bias, rows, columns, scale)


def by_group(
    product: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rows: Kept,
    columns: Kept,
    scale: float,
) -> Tensor:
    """Return ``product(x, scale · weight, bias)``, with each group's part of x, weight and bias."""
    made = []
    groups = len(rows or columns or ())
    for g, part in enumerate(_split(x, groups)):
        cut = cuts(rows, columns, g)
        some_bias = bias if bias is None or rows is None else take(bias, cut[:1])
        made.append(product(part, take(weight, cut) * scale, some_bias))
    return torch.cat(made) if groups > 1 else made[0]


def cuts(rows: Kept, columns: Kept, group: int) -> list[tuple[int, Tensor]]:
    """Return the rows and columns of the weight that a group keeps, in the format of `take`."""
    return [(d, kept) for d, kept in enumerate(_of(group, rows, columns)) if kept is not None]


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether no autocast, compiler or function transform is active; these rewrite operations."""
    return not (
        x.dtype != weight.dtype
        or torch.is_autocast_enabled(x.device.type)
        or torch.compiler.is_compiling()
        or is_transformed()
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        rows: Kept,
        columns: Kept,
        scale: float,
    ) -> Tensor:
        ctx.rows, ctx.columns, ctx.scale, ctx.shape = rows, columns, scale, weight.shape
        ctx.groups = len(rows or columns or ())
        made, parts = [], []
        for g, some in enumerate(_split(x, ctx.groups)):
            part = matrix.cut(weight, *_of(g, rows, columns))
            parts.append(part)
            some_bias = bias if bias is None or rows is None else bias.index_select(0, rows[g])
            made.append(_times(some, part.t(), scale, some_bias))
        ctx.save_for_backward(x, weight if ctx.needs_input_grad[0] else None, *parts)
        return torch.cat(made) if ctx.groups > 1 else made[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *parts = ctx.saved_tensors
        of_x, of_weight, of_bias = [], None, None
        again = torch.is_grad_enabled()  # for second derivatives
        for g, (some, some_grad) in enumerate(
            zip(_split(x, ctx.groups), _split(grad, ctx.groups), strict=True)
        ):
            kept = cuts(ctx.rows, ctx.columns, g)
            if ctx.needs_input_grad[0]:
                part = take(weight, kept) if again else parts[g]
                of_x.append(_times(some_grad, part, ctx.scale))
            some_grad = some_grad.reshape(-1, some_grad.shape[-1])
            if ctx.needs_input_grad[1]:
                new = _times(some_grad.t(), some.reshape(-1, some.shape[-1]), ctx.scale)
                where = _of(g, ctx.rows, ctx.columns)
                if again:
                    new = put(new, kept, ctx.shape)
                    of_weight = new if of_weight is None else of_weight + new
                elif of_weight is None:
                    of_weight = matrix.put(new, *where, ctx.shape)
                else:
                    matrix.add(of_weight, new, *where)
            if ctx.needs_input_grad[2]:
                new = some_grad.sum(0)
                if ctx.rows is not None:
                    new = new.new_zeros(ctx.shape[0]).index_copy(0, ctx.rows[g], new)
                of_bias = new if of_bias is None else of_bias + new
        joined = (torch.cat(of_x) if ctx.groups > 1 else of_x[0]) if of_x else None
        return joined, of_weight, of_bias, None, None, None


def _of(group: int, rows: Kept, columns: Kept) -> tuple[Tensor | None, Tensor | None]:
    return None if rows is None else rows[group], None if columns is None else columns[group]


def _split(x: Tensor, groups: int) -> Sequence[Tensor]:
    return x.tensor_split(groups) if groups > 1 else (x,)


def _times(x: Tensor, other: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """Return ``scale · x · other + bias`` in one operation, so that scaling takes no extra time."""
    flat = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    if bias is not None:
        y = torch.addmm(bias, flat, other, alpha=scale)
    elif scale == 1.0:
        y = flat @ other
    else:
        y = torch.addmm(x.new_empty(()), flat, other, beta=0, alpha=scale)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], other.shape[1])
