"""Describe each of several inputs, and how it is preprocessed, in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from dropkit.study.data._data import Array
from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.shapes import describe_shape


def describe_inputs(X: Any, preprocess: bool) -> tuple[str, ...]:
    """Return a line for each of several inputs or sequences; nothing for one array or a table.

    >>> X = Inputs({"age": np.array([[20.5], [31.0]]), "kind": np.array([0, 2])})
    >>> describe_inputs(X, preprocess=True)
    ('age: rows of shape 1, numbers from 20.5 to 31; standardized',
     'kind: whole numbers from 0 to 2; as they are')
    """
    if not isinstance(X, Inputs):
        return ()
    return tuple(f"{name}: {_describe(part, preprocess)}" for name, part in X.items())


def _describe(part: Array | Sequences, preprocess: bool) -> str:
    if isinstance(part, Sequences):
        values, what = (
            part.steps,
            f"sequences of {part.lengths.min()} to {part.lengths.max()} steps",
        )
        what += f" of shape {describe_shape(values.shape[1:])}, " if values.ndim > 1 else ", "
    else:
        values = part
        what = f"rows of shape {describe_shape(values.shape[1:])}, " if values.ndim > 1 else ""
    kind = values.dtype.kind
    if kind == "b":
        return f"{what}true or false; as they are"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    numbers = "whole numbers" if kind in "iu" else "numbers"
    return f"{what}{numbers} from {low:g} to {high:g}; {_describe_change(values, preprocess)}"


def _describe_change(values: Array, preprocess: bool) -> str:
    """Describe what preprocessing does to numbers."""
    if values.dtype.kind == "i" or not preprocess:
        return "as they are"
    if values.ndim == 2:
        return "standardized"
    if values.dtype == np.uint8:
        return "divided by 255"
    is_share = values.min() >= 0.0 and values.max() <= 1.0
    return "as they are" if is_share else "standardized per channel"
