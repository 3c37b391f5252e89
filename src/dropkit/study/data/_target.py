"""The target: its task, its classes, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from dropkit.errors import DataError
from dropkit.study.data._columns import commas, first_infinite, is_date, plain, tidy
from dropkit.study.data._data import Array, Task
from dropkit.text import nearest

# An integer target with at most so many values, and as a share of the rows, names classes.
_MOST_CLASSES, _MOST_SHARE = 20, 0.05

# Squared errors are kept in float32, which ends at 3e38.
_LARGEST = 1e18


@dataclass(frozen=True)
class Target:
    """An encoded target; the fields are those of `Data`."""

    y: Array
    task: Task
    classes: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()


def encode(values: Any, name: str, task: str | None = None) -> Target:
    """Turn the values of the target into class indices or numbers.

    Text and truth values name classes. Integers do if there are at most 20 distinct ones and
    they are at most 5 % of the rows (two always do); other numbers are a regression.

    Raises:
        DataError: a value is missing or infinite, there is one class only, or text stands where
            a number is needed.
    """
    if task not in (None, "classification", "regression"):
        raise DataError(f"task must be 'classification' or 'regression', got {task!r}")
    column = _complete(pd.Series(values).reset_index(drop=True), name)
    if types.is_numeric_dtype(column) and column.nunique() == 1:
        only = plain(column.iloc[0])
        raise DataError(f"target {name!r} has one value ({only}); there is nothing to learn")
    notes: tuple[str, ...] = ()
    if task is None:
        if not types.is_numeric_dtype(column):
            _refuse_stray_text(column, name)
            task = "classification"
        else:
            task, note = _guess(column, name)
            notes = (note,) if note else ()
    if task == "regression":
        y = _numbers(column, name)
        return Target(y, "regression", (), name, notes)
    labels = _labels(column)
    classes = tuple(str(label) for label in _in_order(column, labels))
    if len(classes) < 2:
        raise DataError(f"target {name!r} has one class ({classes[0]!r}); at least two are needed")
    index = {label: i for i, label in enumerate(classes)}
    return Target(labels.map(index).to_numpy(np.int64), "classification", classes, name, notes)


def encode_like(values: Any, train: Target) -> tuple[Array, tuple[str, ...]]:
    """Encode the target of a test set with the classes of the training rows."""
    column = _complete(pd.Series(values).reset_index(drop=True), f"{train.name} (test set)")
    if train.task == "regression":
        return _numbers(column, f"{train.name} (test set)"), ()
    index = {label: i for i, label in enumerate(train.classes)}
    labels = _labels(column)
    notes: tuple[str, ...] = ()
    if not labels.isin(index).all():
        trimmed = labels.str.rstrip(".").str.rstrip()
        changed = labels[(trimmed != labels) & trimmed.isin(index)]
        if len(changed):
            notes = (
                f"test labels matched without their full stop: {changed.iloc[0]!r} is "
                f"{trimmed[changed.index[0]]!r}",
            )
        labels = trimmed.where(~labels.isin(index), labels)
    unseen = labels[~labels.isin(index)]
    if len(unseen):
        raise DataError(
            f"the test set has class {unseen.iloc[0]!r} (row {unseen.index[0] + 1}), which no "
            f"training row has: {nearest(unseen.iloc[0], train.classes)}"
        )
    return labels.map(index).to_numpy(np.int64), notes


def _complete(values: pd.Series, name: str) -> pd.Series:
    """The tidy column, if every value is there and finite."""
    column = tidy(values)
    if is_date(column):
        raise DataError(f"target {name!r} is a date; turn it into a number or a class")
    missing = np.flatnonzero(column.isna())
    if len(missing):
        found = values.iloc[missing[0]]
        shown = f" ({found!r})" if isinstance(found, str) else ""
        raise DataError(
            f"target {name!r} is missing or NaN in {len(missing)} of {len(column)} rows, first in "
            f"row {missing[0] + 1}{shown}; remove these rows or fill them in"
        )
    if types.is_numeric_dtype(column) and (row := first_infinite(column)) is not None:
        count = int(np.isinf(column).sum())
        raise DataError(
            f"target {name!r} is infinite in {count} of {len(column)} rows, first in row "
            f"{row + 1}; remove these rows or fill them in"
        )
    return column


def _guess(column: pd.Series, name: str) -> tuple[Task, str | None]:
    """The task that numbers suggest, and a note where they could mean the other."""
    distinct = column.nunique()
    if not bool((column == column.round()).all()):
        return "regression", None
    if distinct <= 2:
        return "classification", None
    few, rare = distinct <= _MOST_CLASSES, distinct <= _MOST_SHARE * len(column)
    if not few and not rare:
        return "regression", None
    held = f"target {name!r} holds {distinct} distinct integers: taken as"
    if few and rare:
        return "classification", f"{held} classes (task regression takes them as numbers)"
    return "regression", f"{held} numbers (task classification takes them as classes)"


def _refuse_stray_text(column: pd.Series, name: str) -> None:
    """Numbers with commas or a few words are a faulty target, not hundreds of classes."""
    numbers = pd.to_numeric(column, errors="coerce")
    stray = np.flatnonzero(numbers.isna())
    if column.nunique() > _MOST_CLASSES and (hint := commas(column.iloc[stray].unique())):
        raise DataError(f"target {name!r} {hint}, or ask for classification")
    if len(stray) <= 0.05 * len(column) and numbers.nunique() > _MOST_CLASSES:
        raise DataError(
            f"target {name!r} holds numbers except in {len(stray)} rows, first in row "
            f"{stray[0] + 1} ({column.iloc[stray[0]]!r}); correct these rows"
        )


def _numbers(column: pd.Series, name: str) -> Array:
    if not types.is_numeric_dtype(column):
        numbers = pd.to_numeric(column, errors="coerce")
        row = int(np.flatnonzero(numbers.isna())[0])
        raise DataError(
            f"target {name!r} must be numbers for a regression, got {column.iloc[row]!r} in row "
            f"{row + 1}; correct it or ask for classification"
        )
    values: Array = column.to_numpy(np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST:
        raise DataError(
            f"target {name!r} must not exceed {_LARGEST:g} in size, got {largest:g}; give it in a "
            "larger unit or as its logarithm"
        )
    return values


def _labels(column: pd.Series) -> pd.Series:
    if types.is_numeric_dtype(column):
        return column.map({value: plain(value) for value in column.unique()}).astype(object)
    return column


def _in_order(column: pd.Series, labels: pd.Series) -> list[Any]:
    """The distinct labels, numbers by value and text by spelling."""
    firsts = ~column.duplicated()
    order = sorted(zip(column[firsts], labels[firsts], strict=True))
    return [label for _, label in order]
