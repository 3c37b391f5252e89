"""Read data sets of Hugging Face's library; columns and classes keep their names.

This module does not import the library, because the user's code has imported it already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._images import convert_images
from dropkit.text import nearest

_USUAL_TARGETS = ("label", "labels", "target", "class", "y")
_VALIDATION = ("validation", "val", "valid", "dev")
_NOT_LABELLED = -1  # the library's number for an unknown class


def is_hugging_face(value: Any) -> bool:
    """Return whether the value is a data set of the library, or a dictionary of such."""
    return any(
        kind.__module__.partition(".")[0] == "datasets" and "Dataset" in kind.__name__
        for kind in type(value).__mro__
    )


def unpack(
    X: Any, y: Any, parts: Mapping[str, Any], task: str | None, image_size: int | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Convert data sets to arguments of `from_arrays`, and return notes to add.

    Args:
        X: a data set, or a dictionary of data sets with the key ``train``.
        y: the column to predict; ``None`` takes the only column of classes, or a column called
            label, labels, target, class or y.
        parts: ``X_test``, ``y_test``, ``X_val`` and ``y_val``; a part that the dictionary ``X``
            holds must be ``None``.
        task: as for `from_arrays`.
        image_size: the height and width to which images are resized.
    """
    notes: tuple[str, ...] = ()
    given = {part: parts[f"X_{part}"] for part in ("test", "val")}
    if isinstance(X, Mapping):
        X, given, notes = _choose_splits(X, given)
    _check_type(X, "X")
    target = _find_target(X, y)
    sets = {"": X} | {f"_{part}": each for part, each in given.items() if each is not None}
    labelled = _is_classes(X.features[target])
    for suffix, each in sets.items():
        _check_type(each, f"X{suffix}")
    if "_test" in sets and labelled and _has_no_labels(sets["_test"], target):
        del sets["_test"]
        notes += ("left out the test split, which holds no labels",)
    if labelled and task == "regression":
        raise DataError(f"column {target!r} holds classes, so the task cannot be regression")
    arguments: dict[str, Any] = {"task": "classification" if labelled else task}
    columns = [name for name in X.column_names if name != target]
    for suffix, each in sets.items():
        name = f"X{suffix}"
        if parts.get(f"y{suffix}") is not None:
            raise DataError(f"{name} holds the column {target!r} to predict; leave y{suffix} out")
        for column in (*columns, target):
            if column not in each.column_names:
                raise DataError(
                    f"{name} has no column {column!r}: {nearest(column, each.column_names)}"
                )
        rows, values, more = _read(each, columns, target, name, image_size)
        notes += () if suffix else more
        arguments |= {name: rows, f"y{suffix}": values}
    return arguments, notes


def _choose_splits(
    splits: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
    """Return the training split, the fixed parts, and a note on splits that are left out."""
    names = list(splits)
    if "train" not in names and len(names) > 1:
        raise DataError(f"X has the splits {', '.join(names)}; give one, or name one of them train")
    train = "train" if "train" in names else names[0]
    val = next((name for name in _VALIDATION if name in names), None)
    found = {"test": "test" if "test" in names and train != "test" else None, "val": val}
    chosen = dict(given)
    for part, name in found.items():
        if name is None or name == train:
            continue
        if chosen[part] is not None:
            raise DataError(f"X has the split {name!r} already; leave X_{part} out")
        chosen[part] = splits[name]
    others = [name for name in names if name not in (train, *found.values())]
    note = (f"left out the splits {', '.join(others)}",) if others else ()
    return splits[train], chosen, note


def _check_type(data: Any, name: str) -> None:
    if not is_hugging_face(data):
        raise DataError(f"X is a Hugging Face data set, so {name} must be one, got {_type(data)}")
    if isinstance(data, Mapping):
        raise DataError(f"{name} must be one split, got {', '.join(data)}; give one of them")
    if not hasattr(data, "__len__"):
        raise DataError(
            f"{name} must hold its rows, got {_type(data)}; load it with streaming=False"
        )
    if not len(data):
        raise DataError(f"{name} is empty")


def _type(value: Any) -> str:
    return str(type(value).__name__)


def _find_target(data: Any, y: Any) -> str:
    names = list(data.column_names)
    if y is not None:
        if not isinstance(y, str):
            raise DataError(
                f"y must be the name of a column of the data set, got {_type(y)}; its columns are "
                f"{', '.join(names)}"
            )
        if y not in names:
            raise DataError(f"no column {y!r} to predict: {nearest(y, names)}")
        return str(y)
    classes = [name for name in names if _is_classes(data.features[name])]
    usual = [name for name in _USUAL_TARGETS if name in names]
    if len(classes) == 1:
        return str(classes[0])
    if usual:
        return str(usual[0])
    raise DataError(f"say with y= which column to predict: it is one of {', '.join(names)}")


def _has_no_labels(data: Any, target: str) -> bool:
    return target in data.column_names and set(data.with_format(None)[target]) == {_NOT_LABELLED}


def _read(
    data: Any, columns: list[str], target: str, name: str, image_size: int | None
) -> tuple[Any, Any, tuple[str, ...]]:
    """Return features, target and notes: a DataFrame and the target's name, or an array and values.

    If any of several columns holds arrays, the columns become several inputs.
    """
    data = data.with_format(None).select_columns([*columns, target])
    if not columns:
        raise DataError(f"{name} has no column but {target!r}, which is to be predicted")
    whole = [column for column in columns if not _is_scalar(data.features[column])]
    if image_size is not None and not any(_kind(data.features[c]) == "Image" for c in columns):
        raise DataError("image_size has no meaning without images; leave it out")
    if not whole:
        frame = data.to_pandas()
        for column in (*columns, target):
            if _is_classes(data.features[column]):
                frame[column] = _name_classes(frame[column], data.features[column])
        return frame, target, ()
    values: Any = data.with_format("numpy", columns=[target])[:][target]
    if _is_classes(data.features[target]):
        values = np.asarray(_name_classes(values, data.features[target]), object)
    read: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    for column in columns:
        read[column], more = _read_column(data, column, name, image_size)
        notes += more
        if _is_scalar(data.features[column]) and read[column].dtype.kind not in "buif":
            others = ", ".join(repr(each) for each in (*columns, target) if each != column)
            raise DataError(
                f"column {column!r} of {name} holds no numbers, and beside {whole[0]!r} a column "
                f"must hold numbers or arrays; leave it out: select_columns([{others}])"
            )
    return (read if len(columns) > 1 else read[columns[0]]), values, notes


def _read_column(
    data: Any, column: str, name: str, image_size: int | None
) -> tuple[Any, tuple[str, ...]]:
    """Return a column as an array or a list of arrays of unequal length, and notes."""
    if _kind(data.features[column]) == "Image":
        return convert_images(
            ((f"{name}[{i}]", row[column]) for i, row in enumerate(data)), image_size
        )
    rows = data.with_format("numpy", columns=[column])[:][column]
    is_ragged = rows.dtype == object and not _is_scalar(data.features[column])
    return (list(rows) if is_ragged else rows), ()


def _kind(feature: Any) -> str:
    return type(feature).__name__


def _is_classes(feature: Any) -> bool:
    return _kind(feature) == "ClassLabel"


def _is_scalar(feature: Any) -> bool:
    return _kind(feature) in ("Value", "ClassLabel")


def _name_classes(values: Any, feature: Any) -> pd.Categorical:
    """Convert class numbers to names; unknown classes are missing."""
    codes = pd.Series(values).fillna(_NOT_LABELLED).to_numpy(np.int64)
    return pd.Categorical.from_codes(codes, categories=feature.names)
