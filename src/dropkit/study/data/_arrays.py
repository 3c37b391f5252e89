"""Read arrays, DataFrames and data sets that are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._features import to_numpy
from dropkit.study.data._hugging_face import is_hugging_face, unpack
from dropkit.study.data._inputs import match_inputs, read_features
from dropkit.study.data._keys import Key
from dropkit.study.data._repeats import add_repeat_doubts
from dropkit.study.data._table import from_frame, with_validation
from dropkit.study.data._target_arrays import read_target
from dropkit.study.data._targets import encode_columns, encode_columns_like
from dropkit.study.inputs import join_rows


def from_arrays(
    X: Any,
    y: Any = None,
    *,
    X_test: Any = None,
    y_test: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    task: str | None = None,
    name: str = "data",
    preprocess: bool = True,
    read: Mapping[str, str] | None = None,
    time: str | None = None,
    group: str | None = None,
    image_size: int | None = None,
) -> Data:
    """Create `Data` from arrays, DataFrames or data sets in memory.

    Args:
        X: features: an array, tensor or list of shape (rows, features), (rows, height, width),
            (rows, channels, height, width) or (rows, height, width, channels), or of any shape
            without preprocessing; a list of arrays of unequal length; a dict of these, whose keys
            are the parameter names of the model's ``forward``; a DataFrame; a map-style torch data
            set of pairs (x, y); or a Hugging Face data set or a dictionary of its splits. The
            splits validation and test become the fixed parts.
        y: the target, one value per row, or of shape (rows, targets): numbers, or labels of 0 and
            1. For a DataFrame it may be the name of a column, or a list of names. For a Hugging
            Face data set it is the name of a column; by default the only column of classes, or the
            column called label. A torch data set holds ``y`` itself.
        X_test: features of a fixed test set, of the same kind as ``X``, or ``None``.
        y_test: the target of the fixed test set.
        X_val: features of fixed validation rows, of the same kind as ``X``, or ``None``.
        y_val: the target of these validation rows.
        task: ``"classification"``, ``"regression"``, ``"multi-label"`` or ``"multi-output"``;
            ``None`` infers it from ``y``.
        name: what to call the data in tables and reports.
        preprocess: whether the data will be standardized. If not, ``X`` keeps its shape and kind of
            numbers, and every value must be finite.
        read: the kinds of some columns of a DataFrame, such as ``{"zip": "category"}``.
        time: the column of a DataFrame with the time of each row, for a split by time.
        group: the column of a DataFrame with the group of each row, for a split by group; it is not
            used as a feature.
        image_size: the height and width to which images of a Hugging Face data set are resized.

    Returns:
        The data: images of `uint8` are kept, other numbers are converted to floats.

    Raises:
        DataError: features are not finite numbers, lengths or shapes do not fit, or the target
            cannot be learned.

    Example:
        >>> data = from_arrays([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], ["no", "yes", "yes"])
        >>> data.task, data.classes, data.y
        ('classification', ('no', 'yes'), array([0, 1, 1]))
    """
    if is_hugging_face(X):
        parts = {"X_test": X_test, "y_test": y_test, "X_val": X_val, "y_val": y_val}
        arguments, more = unpack(X, y, parts, task, image_size)
        data = from_arrays(
            **arguments, name=name, preprocess=preprocess, read=read, time=time, group=group
        )
        return replace(data, notes=data.notes + more)
    if image_size is not None:
        raise DataError("image_size has no meaning for arrays; resize the images before")
    if isinstance(X, pd.DataFrame):
        key = None if time is None else Key("time", time)
        key = key if group is None else Key("group", group)
        return _from_frames(X, y, X_test, y_test, X_val, y_val, task, name, preprocess, read, key)
    for setting, given in (("read", read or None), ("time", time), ("group", group)):
        if given is not None:
            raise DataError(f"{setting} has no meaning for arrays; give a DataFrame")
    X, y = _split_torch_data(X, y, "X", "y")
    features, notes = read_features(X, "X", preprocess)
    values, val_rows = read_target(y, "y", len(features)), None
    if X_val is not None:
        X_val, y_val = _split_torch_data(X_val, y_val, "X_val", "y_val")
        fixed, _ = read_features(X_val, "X_val", preprocess, like=features)
        features, fixed = match_inputs(features, fixed, "X_val")
        val_rows = np.arange(len(features), len(features) + len(fixed))
        of_val = read_target(y_val, "y_val", len(fixed), like=values)
        values = pd.concat([values, of_val.set_axis(list(values), axis=1)], ignore_index=True)
        features = join_rows(features, fixed)
    elif y_val is not None:
        raise DataError("y_val needs X_val; give both or neither")
    target = encode_columns(values, task)
    test, test_values = None, None
    if X_test is not None:
        X_test, y_test = _split_torch_data(X_test, y_test, "X_test", "y_test")
        test, _ = read_features(X_test, "X_test", preprocess, like=features)
        test_values, more = encode_columns_like(
            read_target(y_test, "y_test", len(test), like=values), target
        )
        notes += more
        features, test = match_inputs(features, test, "X_test")
    elif y_test is not None:
        raise DataError("y_test needs X_test; give both or neither")
    data = Data(
        name,
        features,
        target.y,
        target.task,
        target.classes,
        target.name if target.names else "y",
        test,
        test_values,
        target.notes + notes,
        val_rows=val_rows,
        targets=target.names,
    )
    return add_repeat_doubts(data)


def _from_frames(
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    X_val: Any,
    y_val: Any,
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
    values = None if _names_columns(y, X) else read_target(y, "y", len(X))
    names: list[str] = []
    if values is not None:
        names = list(values) if values.shape[1] > 1 else [str(getattr(y, "name", None) or "y")]
        while taken := {*names} & set(map(str, X.columns)):
            names = [f"{column}_" if column in taken else column for column in names]

    def with_target(frame: Any, given: Any, part: str) -> Any:
        """Add the target columns to the rows of a part; return ``None`` if the part is absent."""
        if frame is None:
            if given is not None:
                raise DataError(f"y_{part} needs X_{part}; give both or neither")
            return None
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"X is a DataFrame, so X_{part} must be one, got {type(frame).__name__}"
            )
        if values is not None:
            return _add_columns(
                frame, read_target(given, f"y_{part}", len(frame), like=values), names
            )
        if given is not None and not _names_columns(given, frame):
            raise DataError(f"y names {y!r}, so y_{part} is read from X_{part}; leave it out")
        return frame

    train = X if values is None else _add_columns(X, values, names)
    test, val = with_target(X_test, y_test, "test"), with_target(X_val, y_val, "val")
    val_rows = None
    if val is not None:
        train, val_rows = with_validation(train, val, "X_val")
    return from_frame(
        train,
        y if values is None else names,
        test,
        task=task,
        name=name,
        preprocess=preprocess,
        read=read,
        key=key,
        val_rows=val_rows,
    )


def _add_columns(X: pd.DataFrame, values: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Add target columns to a table by position, ignoring the indices."""
    columns = (values[column].array for column in values)
    return X.assign(**dict(zip(names, columns, strict=True)))


def _names_columns(y: Any, X: pd.DataFrame) -> bool:
    """Return whether ``y`` names columns of the table, instead of holding values."""
    if isinstance(y, str):
        return True
    if not isinstance(y, list | tuple) or len(y) == len(X):
        return False
    return all(isinstance(column, str) and column in X for column in y)


def _split_torch_data(X: Any, y: Any, name: str, y_name: str) -> tuple[Any, Any]:
    """Split a torch data set into features and target; return anything else unchanged."""
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
        ys.append(label.item() if label.size == 1 else label)
        if np.shape(ys[-1]) != np.shape(ys[0]) or label.ndim > 1:
            raise DataError(
                f"the target of {name}[{i}] has shape {label.shape}, expected one value, or as "
                "many as the other rows have"
            )
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
    """Stack rows into one array, or return the list if their shapes differ."""
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows
