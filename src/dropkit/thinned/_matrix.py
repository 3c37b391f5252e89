"""Copy kept rows and columns out of a matrix or into one, with the C kernel or torch.

These copies take a large part of the time of a thinned step. The kernel reads and writes each
number once. These functions do not support gradients.
"""

from typing import Any

import torch
from torch import Tensor

from dropkit.random.dispatch import share_threads

try:
    from dropkit.thinned import _kernel
except ImportError:  # installed without a compiler
    _kernel = None  # type: ignore[assignment]

#: The CPU kernel, or None.
kernel: Any = _kernel

_CUT, _PUT, _ADD, _WRITE = range(4)

if kernel is not None:
    share_threads(kernel)


def cut(whole: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Return ``whole[rows][:, columns]``. Indices ascend; None means all of the dimension."""
    if _is_ours(whole):
        height, width = whole.shape
        tall = height if rows is None else len(rows)
        part = whole.new_empty(tall, width if columns is None else len(columns))
        _move(_CUT, whole, part, rows, columns)
        return part
    if rows is not None:
        whole = whole.index_select(0, rows)
    return whole if columns is None else whole.index_select(1, columns)


def put(part: Tensor, rows: Tensor | None, columns: Tensor | None, shape: torch.Size) -> Tensor:
    """Return zeros of ``shape`` with ``part`` at ``[rows][:, columns]``."""
    if _is_ours(part) and len(part):
        whole = part.new_empty(shape)
        _move(_PUT, whole, part, rows, columns)
        return whole
    part = _widened(part, columns, shape[1])
    return part if rows is None else part.new_zeros(shape).index_copy_(0, rows, part)


def add(whole: Tensor, part: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Add ``part`` to ``whole`` at ``[rows][:, columns]`` in place, and return ``whole``."""
    if _is_ours(whole) and _is_ours(part) and whole.dtype in (torch.float32, torch.float64):
        _move(_ADD, whole, part, rows, columns)
        return whole
    part = _widened(part, columns, whole.shape[1])
    return whole.add_(part) if rows is None else whole.index_add_(0, rows, part)


def write(whole: Tensor, part: Tensor, rows: Tensor | None, columns: Tensor | None) -> None:
    """Write ``part`` into ``whole`` at ``[rows][:, columns]``; rows or columns must be given."""
    if _is_ours(whole) and _is_ours(part) and len(part):
        _move(_WRITE, whole, part, rows, columns)
    elif rows is None:
        whole[:, columns] = part
    else:
        whole[rows if columns is None else (rows[:, None], columns)] = part


def _widened(part: Tensor, columns: Tensor | None, width: int) -> Tensor:
    if columns is None:
        return part
    return part.new_zeros(len(part), width).index_copy_(1, columns, part)


def _is_ours(x: Tensor) -> bool:
    known = x.is_cpu and x.dim() == 2 and x.is_contiguous() and x.itemsize in (2, 4, 8)
    return kernel is not None and known


def _move(
    action: int, whole: Tensor, part: Tensor, rows: Tensor | None, columns: Tensor | None
) -> None:
    at_rows, at_columns = (0 if kept is None else kept.data_ptr() for kept in (rows, columns))
    (height, width), (tall, wide) = whole.shape, part.shape
    kernel.move(
        action, whole.data_ptr(), part.data_ptr(), at_rows, at_columns, height, width, tall, wide,
        whole.itemsize, torch.get_num_threads(),
    )  # fmt: skip
