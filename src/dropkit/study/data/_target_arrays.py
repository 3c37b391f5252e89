"""Convert targets in memory to named columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Array
from dropkit.study.data._features import to_numpy


def read_target(y: Any, name: str, rows: int, *, like: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the target columns: a DataFrame's with their names, others as ``y1``, ``y2``, …

    Args:
        y: targets of shape (rows,) or (rows, targets).
        name: the name of the target in messages, and of its column if there is only one.
        rows: number of rows of the features.
        like: the target columns of the training rows; a test set must have the same columns.
    """
    if y is None:
        raise DataError(f"{name} is missing; give one value per row")
    values = to_numpy(y, name)
    if values.ndim not in (1, 2) or (values.ndim == 2 and not values.shape[1]):
        raise DataError(
            f"{name} has shape {values.shape}; it must hold one class or one number per row, or be "
            "of shape (rows, targets)"
        )
    if len(values) != rows:
        raise DataError(f"{name} has {len(values)} values for {rows} rows; give one per row")
    if values.ndim == 1 or values.shape[1] == 1:
        names = [name]
    elif isinstance(y, pd.DataFrame):
        names = [str(column) for column in y.columns]
        if twice := [each for i, each in enumerate(names) if each in names[:i]]:
            raise DataError(f"{name} has two columns called {twice[0]!r}; give each its own name")
    else:
        names = [f"{name}{i}" for i in range(1, values.shape[1] + 1)]
    if like is None:
        return _to_frame(y, values, names)
    if len(names) != like.shape[1]:
        raise DataError(
            f"{name} has {len(names)} columns and that of the training rows {like.shape[1]}; they "
            "must be the same targets"
        )
    if isinstance(y, pd.DataFrame) and set(names) == set(like.columns):
        return _to_frame(y, values, names)[list(like.columns)]
    return _to_frame(y, values, list(like.columns))


def _to_frame(y: Any, values: Array, names: list[str]) -> pd.DataFrame:
    if isinstance(y, pd.DataFrame) and len(names) > 1:  # each column keeps its own type
        return y.set_axis(names, axis=1).reset_index(drop=True)
    columns = values.reshape(len(values), -1).T
    frame = pd.DataFrame({n: pd.Series(column) for n, column in zip(names, columns, strict=True)})
    return frame if len(names) == 1 else frame.infer_objects()
