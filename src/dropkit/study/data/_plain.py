"""Read features that are not preprocessed: finite numbers of any shape."""

from __future__ import annotations

from collections.abc import Iterable
from reprlib import repr as shown

import numpy as np
import pandas as pd
from pandas.api import types

from dropkit.errors import DataError
from dropkit.study.data._cells import MISSING
from dropkit.study.data._data import Array
from dropkit.text import nearest


def plain_array(values: Array, name: str) -> Array:
    """Return the array after checking that it has a row per example and only finite numbers."""
    if values.ndim < 2 or 0 in values.shape:
        raise DataError(
            f"{name} has shape {values.shape}; it must hold a row of features for every target"
        )
    check_finite(values, name)
    return np.ascontiguousarray(values)


def check_finite(values: Array, name: str) -> None:
    """Raise `DataError` if a number is not finite in float32, which networks use."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(values.astype(np.float32)).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"{name} is NaN, infinite or beyond float32 in row {finite.argmin() + 1}; without "
            "preprocessing features must be finite"
        )


def plain_table(frame: pd.DataFrame, columns: Iterable[str], name: str) -> Array:
    """Return columns as one array, of integers if all are; raise `DataError` for other values."""
    for column in columns:
        if column not in frame:
            raise DataError(f"{name} has no column {column!r}: {nearest(column, frame.columns)}")
        numeric = types.is_numeric_dtype(frame[column])
        if not numeric or types.is_complex_dtype(frame[column]):
            raise DataError(
                f"without preprocessing columns must hold numbers, got {column!r} with "
                f"{shown(frame[column].iloc[0])}; turn it into numbers or leave preprocessing on"
            )
    chosen = frame[list(columns)]
    whole = all(map(types.is_integer_dtype, chosen.dtypes))
    if whole and not chosen.isna().any(axis=None):
        return plain_array(chosen.to_numpy(np.int64), name)
    return plain_array(chosen.to_numpy(np.float64, na_value=np.nan), name)


def as_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert those columns of text that hold only numbers."""
    read = {}
    for name in frame:
        values = frame[name]
        if values.dtype == object:
            gaps = values.map(lambda cell: isinstance(cell, str) and cell.lower() in MISSING)
            try:
                values = pd.to_numeric(values.mask(gaps, np.nan))
            except (ValueError, TypeError):
                values = frame[name]
        read[name] = values
    return pd.DataFrame(read, index=frame.index)
