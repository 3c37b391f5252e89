"""Read one array of numeric features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dropkit.errors import DataError
from dropkit.study.data._columns import LARGEST
from dropkit.study.data._data import Array
from dropkit.study.data._plain import plain_array


def to_numpy(values: Any, name: str) -> Array:
    """Convert values to an array; raise `DataError` if rows differ in length."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        return values.numpy()  # type: ignore[no-any-return]
    try:
        return np.asarray(values)
    except ValueError:
        raise DataError(f"the rows of {name} differ in length; give every row as many") from None


def read_array(X: Any, name: str, preprocess: bool) -> tuple[Array, tuple[str, ...]]:
    """Convert features to floats; images have the shape (rows, channels, height, width).

    Images of uint8 keep their type. Without preprocessing, features are not changed.
    """
    array = to_numpy(X, name)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{name} must hold numbers, got an array of {array.dtype}; "
            "give a DataFrame for columns of text"
        )
    if not preprocess:
        return plain_array(array, name), ()
    if array.ndim < 2 or array.ndim > 4 or 0 in array.shape:
        raise DataError(
            f"{name} has shape {array.shape}; it must be (rows, features) or "
            "(rows, channels, height, width) and not empty"
        )
    notes: tuple[str, ...] = ()
    if array.ndim == 3:
        array = array[:, np.newaxis]
        if array.dtype != np.uint8:  # pixels are uint8
            size = "x".join(map(str, array.shape[2:]))
            notes = (f"rows of shape {size} are taken as images of one channel, 1x{size}",)
    elif array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        array = array.transpose(0, 3, 1, 2)
        notes = ("images with the channels last were turned to channels first",)
    is_small = array.dtype == np.uint8  # float32 holds it exactly
    if array.dtype not in (np.float32, np.float64) and not (is_small and array.ndim > 2):
        array = array.astype(np.float64 if array.ndim == 2 and not is_small else np.float32)
    if array.dtype.kind == "f":
        allowed = "finite or missing (NaN)" if array.ndim == 2 else "finite"
        bad = np.isinf(array) if array.ndim == 2 else ~np.isfinite(array)
        if bad.any():
            row = int(bad.reshape(len(array), -1).any(axis=1).argmax())
            kind = "infinite" if array.ndim == 2 else "NaN or infinite"
            raise DataError(f"{name} is {kind} in row {row + 1}; features must be {allowed}")
        if (largest := float(np.nanmax(np.abs(array), initial=0.0))) > LARGEST:
            raise DataError(
                f"{name} must not exceed {LARGEST:g} in size, got {largest:g}; if that stands for "
                "a missing value, give NaN"
            )
    return np.ascontiguousarray(array), notes
