"""Read sequences of unequal length: lists of arrays, or steps with lengths or a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dropkit.errors import DataError
from dropkit.study.data._data import Array
from dropkit.study.data._features import to_numpy
from dropkit.study.inputs import Sequences


def find_sequences(values: Any, name: str, *, certain: bool = False) -> Sequences | None:
    """Convert a list of arrays, an array of arrays or a nested tensor to sequences.

    Return ``None`` for other values. Rows of equal length are sequences only if ``certain`` is
    true.

    Raises:
        DataError: a row is empty, or its steps have another shape than the steps of the first row.
    """
    if isinstance(values, torch.Tensor):
        rows: Sequence[Any] = values.unbind() if values.is_nested or certain else ()
    elif isinstance(values, np.ndarray):
        is_list = values.ndim == 1 and values.dtype == object
        rows = list(values) if is_list or certain else ()
    else:
        is_list = isinstance(values, list | tuple) and all(map(_is_row, values))
        rows = values if is_list and (certain or len(set(map(_shape, values))) > 1) else ()
    if not len(rows) or not all(map(_is_row, rows)):
        return None
    return _join([to_numpy(row, f"row {i} of {name}") for i, row in enumerate(rows, 1)], name)


def _is_row(value: Any) -> bool:
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.ndim > 0
    return isinstance(value, list | tuple)


def _shape(row: Any) -> tuple[int, ...]:
    return tuple(row.shape) if hasattr(row, "shape") else (len(row),)


def _join(rows: list[Array], name: str) -> Sequences:
    first = next((row for row in rows if len(row)), rows[0])
    for i, row in enumerate(rows, 1):
        if len(row) and row.shape[1:] != first.shape[1:]:
            raise DataError(
                f"row {i} of {name} has shape {row.shape}, and the first {first.shape}; sequences "
                "may differ in their first size alone, the number of steps"
            )
    lengths = np.array([len(row) for row in rows], np.int64)
    _check_lengths(lengths, name)
    return Sequences.join(np.concatenate(rows), lengths)


def join_lengths(values: Array, lengths: Any, name: str) -> Sequences:
    """Create sequences from concatenated or padded steps and the length of each sequence."""
    lengths = to_numpy(lengths, f"the lengths of {name}")
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise DataError(
            f"the lengths of {name} must be one whole number per row, got {lengths.dtype} of shape "
            f"{lengths.shape}"
        )
    lengths = lengths.astype(np.int64)
    _check_lengths(lengths, name)
    total, longest = int(lengths.sum()), int(lengths.max())
    if values.ndim and len(values) == total:
        return Sequences.join(values, lengths)
    if values.ndim < 2 or len(values) != len(lengths) or values.shape[1] < longest:
        raise DataError(
            f"{name} has shape {values.shape}, which fits neither the {total} steps that its "
            f"lengths add up to nor {len(lengths)} rows padded to {longest} steps or more"
        )
    return Sequences.join(values[np.arange(values.shape[1]) < lengths[:, None]], lengths)


def join_mask(values: Array, mask: Any, name: str) -> Sequences:
    """Create sequences from padded steps and a mask of the steps that are not padding."""
    mask = to_numpy(mask, f"the mask of {name}")
    if mask.ndim != 2 or mask.shape != values.shape[:2] or mask.dtype.kind not in "bui":
        raise DataError(
            f"the mask of {name} must be true or 1 for its steps and false or 0 for padding, of "
            f"shape (rows, steps) as {name} begins, {values.shape[:2]}; got {mask.dtype} of shape "
            f"{mask.shape}"
        )
    is_step = mask.astype(bool)
    if (odd := (is_step[:, 1:] & ~is_step[:, :-1]).any(axis=1)).any():
        raise DataError(
            f"the mask of {name} has steps behind padding in row {odd.argmax() + 1}; pad sequences "
            "at their end, or give the mask another name to have it passed on as it is"
        )
    return join_lengths(values, is_step.sum(axis=1), name)


def check_steps(sequences: Sequences, name: str, preprocess: bool) -> None:
    """Raise `DataError` for infinite steps, and for missing ones without preprocessing."""
    steps = sequences.steps
    if steps.dtype.kind != "f":
        return
    may_be_missing = preprocess and steps.ndim < 3
    bad = np.isinf(steps) if may_be_missing else ~np.isfinite(steps)
    if bad.any():
        step = int(bad.reshape(len(steps), -1).any(axis=1).argmax())
        row = int(np.searchsorted(sequences.starts, step, side="right")) - 1
        where = f"row {row + 1}, step {step - sequences.starts[row] + 1}"
        if may_be_missing:
            raise DataError(f"{name} is infinite in {where}; steps must be finite or missing (NaN)")
        raise DataError(f"{name} is NaN or infinite in {where}; steps must be finite")


def _check_lengths(lengths: Array, name: str) -> None:
    if (is_empty := lengths < 1).any():
        more = f" and {is_empty.sum() - 1} more" if is_empty.sum() > 1 else ""
        raise DataError(
            f"{name} has no steps in row {is_empty.argmax() + 1}{more}; leave such rows out, or "
            "give them one step, such as 0"
        )
