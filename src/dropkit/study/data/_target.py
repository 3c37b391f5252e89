"""Encode the target, infer its task, and check its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from dropkit.errors import DataError
from dropkit.study.data._categories import BooleanReader, ListReader, near_twins
from dropkit.study.data._cells import (
    PERHAPS_MISSING,
    is_date,
    plain,
    plain_numbers,
    read_cells,
)
from dropkit.study.data._choices import describe_unread, unread_words
from dropkit.study.data._data import Array
from dropkit.study.data._dates import find_date
from dropkit.study.data._numbers import NumberReader, are_codes, find_notation
from dropkit.study.tasks import TASKS, Task
from dropkit.text import nearest

# Integers are classes if there are at most this many values, and at most this share of the rows.
_MOST_CLASSES, _MOST_SHARE = 20, 0.05

# Up to this share of words among numbers, the words are errors; with more, the target is classes.
_MOST_STRAY = 0.05

# Squared errors are stored in float32, whose maximum is 3e38.
_LARGEST = 1e18

_CORRECT = "correct it or ask for classification"
_REMEDIES = {
    "regression": _CORRECT,
    "multi-output": "correct it, or leave this target out: either all targets or none are numbers",
}
"""The fix for a target that is not a number, by the task that needs numbers."""

_NUMBERS = {"number": "", "decimal-point": ".", "decimal-comma": ","}
KINDS = (*_NUMBERS, "category")
"""The kinds that a user may give to a target."""


@dataclass(frozen=True)
class Target:
    """An encoded target, with the fields of `Data` and the reader of its notation.

    ``parts`` holds several targets, and ``names`` their names.
    """

    y: Array
    task: Task
    classes: tuple[str, ...]
    name: str
    notes: tuple[str, ...] = ()
    reader: NumberReader | BooleanReader | ListReader | None = None
    names: tuple[str, ...] = ()
    parts: tuple[Target, ...] = ()


@dataclass(frozen=True, eq=False)
class _Column:
    """The values of a target as labels, and as numbers if all values are numbers."""

    labels: pd.Series
    numbers: Array | None = None
    reader: NumberReader | None = None  # for numbers in a special notation
    notes: tuple[str, ...] = ()
    is_named: bool = False  # whether the values were pandas categories


def encode(
    values: Any, name: str, task: str | None = None, *, kind: str | None = None, hint: str = ""
) -> Target:
    """Convert the values of the target to class indices or numbers.

    Text and booleans are classes. Integers are classes if there are at most 20 distinct values and
    at most one per 20 rows; two distinct integers are always classes. All other numbers, in any
    notation, are a regression.

    Args:
        values: one per row.
        name: the name of the target.
        task: ``None`` to infer the task; ``multi-output`` if this is one of several targets.
        kind: the kind that the user gives to the values, one of `KINDS`.
        hint: the decimal mark of the table, used if these numbers do not show it.

    Raises:
        DataError: a value is missing or infinite, there is only one class, or a number is needed
            and text was given.
    """
    if task not in (None, "classification", *_REMEDIES):
        raise DataError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if kind not in (None, *KINDS):
        raise DataError(f"target {name!r} cannot be read as {kind!r}: {nearest(str(kind), KINDS)}")
    column = _read(pd.Series(values).reset_index(drop=True), name, task, kind, hint)
    numbers, notes = column.numbers, column.notes
    if numbers is not None and len(set(numbers.tolist())) == 1:
        only = plain(numbers[0])
        raise DataError(f"target {name!r} has one value ({only}); there is nothing to learn")
    if task is None:
        task = "classification"
        if numbers is not None:
            task, note = guess_task(numbers, name)
            notes += (note,) if note else ()
    if task in _REMEDIES:
        assert numbers is not None  # otherwise an error was raised above
        _check_size(numbers, name)
        return Target(numbers, "regression", (), name, notes, column.reader)
    classes = _in_order(column)
    if len(classes) < 2:
        raise DataError(f"target {name!r} has one class ({classes[0]!r}); at least two are needed")
    if twins := near_twins(classes):
        first, second = twins[0]
        notes += (f"classes {first!r} and {second!r} of the target differ by case or spaces alone",)
    gaps = () if column.is_named else (c for c in classes if c.lower() in PERHAPS_MISSING)
    if gap := next(iter(gaps), None):
        notes += (f"class {gap!r} of the target may mean missing: remove its rows if it does",)
    index = {label: i for i, label in enumerate(classes)}
    y = column.labels.map(index).to_numpy(np.int64)
    return Target(y, "classification", classes, name, notes, column.reader)


def encode_like(values: Any, train: Target) -> tuple[Array, tuple[str, ...]]:
    """Encode the target of a test set with the classes of the training rows."""
    name, column = f"{train.name} (test set)", pd.Series(values).reset_index(drop=True)
    if train.task == "regression":
        reader = train.reader if isinstance(train.reader, NumberReader) else NumberReader()
        numbers = plain_numbers(column) if reader.decimal == "." else None
        if numbers is None:
            numbers = _read_numbers(column, name, reader)
        refuse_gaps(column, np.isnan(numbers), name)
        _refuse_infinite(numbers, name)
        _check_size(numbers, name)
        return numbers, ()
    index = {label: i for i, label in enumerate(train.classes)}
    labels = _read(column, name, "classification", None, "").labels
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


def _read(values: pd.Series, name: str, task: str | None, kind: str | None, hint: str) -> _Column:
    """Read a column, and check that every value is present and finite."""
    if is_date(values):
        raise DataError(f"target {name!r} is a date; turn it into a number or a class")
    named = isinstance(values.dtype, pd.CategoricalDtype)
    numbers = plain_numbers(values)
    cells = None
    if numbers is not None:
        refuse_gaps(values, np.isnan(numbers), name)
        words = [] if types.is_numeric_dtype(values) else [str(v).strip() for v in values.unique()]
        other = (hint if kind is None else _NUMBERS.get(kind)) == "," and any(
            "." in w for w in words
        )
        if not (other or are_codes(words) or kind == "category"):
            _refuse_infinite(numbers, name)
            labels = {value: plain(value) for value in np.unique(numbers)}
            return _Column(pd.Series(numbers).map(labels).astype(object), numbers)
    cells = read_cells(values)
    refuse_gaps(values, cells.index < 0, name)
    labels = pd.Series(np.array([*cells.words, ""], object)[cells.index])
    if named or kind == "category" or (task == "classification" and kind is None):
        return _Column(labels, is_named=named)
    reader = find_notation(cells.words, hint=hint, decimal=_NUMBERS.get(kind or "", ""))
    if reader is None or (kind is None and are_codes(cells.words)):
        if task in _REMEDIES or kind is not None:
            _read_numbers(values, name, NumberReader(), task)  # raises the right error
        date = find_date(cells.words)
        if date and len(cells.words) > _MOST_CLASSES and not unread_words(date, cells).any():
            raise DataError(f"target {name!r} is a date; turn it into a number or a class")
        return _Column(labels)
    unread = unread_words(reader, cells)
    if not unread.any():
        found = reader.features(cells.words)[""]
        word = cells.words[0]
        told = f"target {name!r} is read as numbers: {word!r} is {plain(found[0])}"
        notes = (told,) if reader.how or reader.is_doubtful else ()
        _refuse_infinite(found[cells.index], name)
        return _Column(labels, found[cells.index], reader, notes)
    if task in _REMEDIES or kind is not None:
        _read_numbers(values, name, reader, task)
    many = (~unread).sum() > _MOST_CLASSES
    if cells.rows(unread) <= _MOST_STRAY * cells.present and many:
        raise DataError(
            f"target {name!r} holds numbers except in {cells.rows(unread)} rows: "
            f"{describe_unread(cells, unread)}; correct these rows, or ask for classes with --task "
            "classification"
        )
    return _Column(labels)


def _read_numbers(
    values: pd.Series, name: str, reader: NumberReader, task: str | None = None
) -> Array:
    cells = read_cells(values)
    unread = unread_words(reader, cells)
    if unread.any():
        raise DataError(
            f"target {name!r} must be numbers for a regression, got "
            f"{describe_unread(cells, unread)}; {_REMEDIES.get(task or '', _CORRECT)}"
        )
    return reader.features(cells.words)[""][cells.index]


def refuse_gaps(values: pd.Series, missing: Array, name: str) -> None:
    rows = np.flatnonzero(missing)
    if len(rows):
        found = values.iloc[rows[0]]
        shown = f" ({found!r})" if isinstance(found, str) else ""
        raise DataError(
            f"target {name!r} is missing or NaN in {len(rows)} of {len(values)} rows, first in "
            f"row {rows[0] + 1}{shown}; remove these rows or fill them in"
        )


def _refuse_infinite(numbers: Array, name: str) -> None:
    rows = np.flatnonzero(np.isinf(numbers))
    if len(rows):
        raise DataError(
            f"target {name!r} is infinite in {len(rows)} of {len(numbers)} rows, first in row "
            f"{rows[0] + 1}; remove these rows or fill them in"
        )


def guess_task(numbers: Array, name: str) -> tuple[Task, str | None]:
    """Return the task that numbers suggest, and a note if they could also mean the other task."""
    distinct = len(np.unique(numbers))
    if not bool((numbers == numbers.round()).all()):
        return "regression", None
    if distinct <= 2:
        return "classification", None
    few, rare = distinct <= _MOST_CLASSES, distinct <= _MOST_SHARE * len(numbers)
    if not few and not rare:
        return "regression", None
    held = f"target {name!r} holds {distinct} distinct integers: taken as"
    if few and rare:
        return "classification", f"{held} classes (task regression takes them as numbers)"
    return "regression", f"{held} numbers (task classification takes them as classes)"


def _check_size(numbers: Array, name: str) -> None:
    largest = float(np.abs(numbers).max(initial=0.0))
    if largest > _LARGEST:
        raise DataError(
            f"target {name!r} must not exceed {_LARGEST:g} in size, got {largest:g}; give it in a "
            "larger unit or as its logarithm"
        )


def _in_order(column: _Column) -> tuple[str, ...]:
    """Return the distinct labels, sorted by value if they are numbers, otherwise alphabetically."""
    firsts = np.flatnonzero(~column.labels.duplicated())
    labels = [str(column.labels[i]) for i in firsts]
    if column.numbers is None:
        return tuple(sorted(labels))
    order = sorted(zip(column.numbers[firsts], labels, strict=True))
    return tuple(label for _, label in order)
