"""Arrays in memory, whatever library made them."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._features import to_numpy
from dropkit.study.data._inputs import match_inputs, read_features
from dropkit.study.data._keys import Key
from dropkit.study.data._repeats import with_repeats_told
from dropkit.study.data._table import from_frame
from dropkit.study.data._target import encode, encode_like


def from_arrays(
    X: Any,
    y: Any = None,
    *,
    X_test: Any = None,
    y_test: Any = None,
    task: str | None = None,
    name: str = "data",
    preprocess: bool = True,
    read: Mapping[str, str] | None = None,
    time: str | None = None,
    group: str | None = None,
) -> Data:
    """Make `Data` of what is in memory.

    Args:
        X: features: an array, tensor or list of shape (rows, features), (rows, height, width),
            (rows, channels, height, width) or (rows, height, width, channels), or of any other
            without preprocessing; a list of arrays of unequal length; a dict of such, for a model
            whose forward has a parameter of every name; a DataFrame; or a map-style torch data set
            of pairs (x, y).
        y: the target, one value per row; for a DataFrame also the name of one of its columns;
            left out for a torch data set.
        X_test: features of a fixed test set, of the same kind as ``X``, or ``None``.
        y_test: its target.
        task: ``"classification"`` or ``"regression"``; ``None`` infers it from ``y``.
        name: what to call the data in tables and reports.
        preprocess: whether the data are meant to be standardized; if not, their shape and their
            kind of numbers are those of ``X``, and every value must be finite.
        read: what columns of a DataFrame hold, such as ``{"zip": "category"}``.
        time: the column of a DataFrame by which the rows may be split in time.
        group: the column of a DataFrame by which they may be split in groups; it is no feature.

    Returns:
        The data, images of `uint8` kept as they are and other numbers as floats.

    Raises:
        DataError: features are not finite numbers, lengths or shapes do not fit, or the target
            cannot be learned.

    Example:
        >>> data = from_arrays([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes"])
        >>> data.task, data.classes, data.y
        ('classification', ('no', 'yes'), array([0, 1, 1]))
    """
    if isinstance(X, pd.DataFrame):
        key = None if time is None else Key("time", time)
        key = key if group is None else Key("group", group)
        return _from_frames(X, y, X_test, y_test, task, name, preprocess, read, key)
    for setting, given in (("read", read or None), ("time", time), ("group", group)):
        if given is not None:
            raise DataError(f"{setting} has no meaning for arrays; give a DataFrame")
    X, y = _unzipped(X, y, "X", "y")
    features, notes = read_features(X, "X", preprocess)
    values = _target(y, "y", len(features))
    target = encode(values, "y", task)
    test, test_values = None, None
    if X_test is not None:
        X_test, y_test = _unzipped(X_test, y_test, "X_test", "y_test")
        test, _ = read_features(X_test, "X_test", preprocess, like=features)
        test_values, more = encode_like(_target(y_test, "y_test", len(test)), target)
        notes += more
        features, test = match_inputs(features, test)
    elif y_test is not None:
        raise DataError("y_test needs X_test; give both or neither")
    data = Data(
        name,
        features,
        target.y,
        target.task,
        target.classes,
        "y",
        test,
        test_values,
        target.notes + notes,
    )
    return with_repeats_told(data)


def _from_frames(
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    task: str | None,
    name: str,
    preprocess: bool,
    read: Mapping[str, str] | None,
    key: Key | None,
) -> Data:
    if X.empty:
        raise DataError(f"X is empty: {X.shape[0]} rows, {X.shape[1]} columns")
    if y is None:
        raise DataError("y is missing; give one value per row or the name of a column of X")
    if X_test is not None and not isinstance(X_test, pd.DataFrame):
        raise DataError(f"X is a DataFrame, so X_test must be one, got {type(X_test).__name__}")
    if X_test is None and y_test is not None:
        raise DataError("y_test needs X_test; give both or neither")
    if isinstance(y, str):
        if y_test is not None and not isinstance(y_test, str):
            raise DataError(f"y names column {y!r}, so y_test is read from X_test; leave it out")
        return from_frame(
            X, y, X_test, task=task, name=name, preprocess=preprocess, read=read, key=key
        )
    target = str(getattr(y, "name", None) or "y")
    while target in map(str, X.columns):
        target += "_"
    train = X.assign(**{target: _target(y, "y", len(X))})
    test = None
    if X_test is not None:
        test = X_test.assign(**{target: _target(y_test, "y_test", len(X_test))})
    return from_frame(
        train, target, test, task=task, name=name, preprocess=preprocess, read=read, key=key
    )


def _unzipped(X: Any, y: Any, name: str, y_name: str) -> tuple[Any, Any]:
    """Features and target of a torch data set; anything else is returned as it came."""
    if not isinstance(X, Dataset):
        if y is None:
            raise DataError(f"{y_name} is missing; give one value per row of {name}")
        return X, y
    if y is not None:
        raise DataError(f"{name} is a torch data set and holds the target; leave {y_name} out")
    if isinstance(X, IterableDataset) or not isinstance(X, Sized):
        raise DataError(f"{name} must be a map-style data set with a length, not an iterable one")
    if isinstance(X, TensorDataset) and len(X.tensors) == 2:
        return X.tensors
    xs, ys = [], []
    for i in range(len(X)):
        item = X[i]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"{name}[{i}] must be a pair (x, y), got {type(item).__name__}")
        xs.append(_to_arrays(item[0], f"{name}[{i}]"))
        label = to_numpy(item[1], f"{name}[{i}]")
        if label.size != 1:
            raise DataError(
                f"the target of {name}[{i}] has shape {label.shape}, expected one value"
            )
        ys.append(label.item())
    if not xs:
        raise DataError(f"{name} is empty")
    if not any(isinstance(x, dict) for x in xs):
        return _stack(xs), ys
    for i, x in enumerate(xs):
        if not isinstance(x, dict) or x.keys() != xs[0].keys():
            raise DataError(
                f"{name}[{i}] holds other inputs than {name}[0]; give all rows the same"
            )
    return {key: _stack([x[key] for x in xs]) for key in xs[0]}, ys


def _to_arrays(x: Any, name: str) -> Any:
    if isinstance(x, Mapping):
        return {key: to_numpy(value, f"{key} of {name}") for key, value in x.items()}
    return to_numpy(x, name)


def _stack(rows: list[Array]) -> Any:
    """One array of rows, or their list if they differ in length."""
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows


def _target(y: Any, name: str, rows: int) -> Array:
    if y is None:
        raise DataError(f"{name} is missing; give one value per row")
    values = to_numpy(y, name)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"{name} has shape {values.shape}; it must hold one class or one number per row"
            + (f"; {_describe_columns(values, name)}" if values.ndim == 2 else "")
        )
    if len(values) != rows:
        raise DataError(f"{name} has {len(values)} values for {rows} rows; give one per row")
    return values


def _describe_columns(values: Array, name: str) -> str:
    """What to do with a target of several columns."""
    if values.dtype.kind in "buif" and bool((np.count_nonzero(values, axis=1) == 1).all()):
        return f"if each column is a class, give {name}.argmax(1)"
    return f"a study predicts one target, so give one of its columns, such as {name}[:, 0]"
