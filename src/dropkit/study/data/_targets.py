"""Encode the target columns: one, or several that are all numbers or all labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._categories import BooleanReader, ListReader, find_labels, find_list
from dropkit.study.data._cells import plain, plain_numbers, read_cells
from dropkit.study.data._data import Array
from dropkit.study.data._target import Target, encode, encode_like, guess_task, refuse_gaps
from dropkit.study.tasks import TASKS, name_several

_LABELS = "0 and 1, or words such as yes and no,"


def encode_columns(
    columns: pd.DataFrame,
    task: str | None = None,
    *,
    kinds: Mapping[str, str | None] | None = None,
    hint: str = "",
) -> Target:
    """Convert target columns to class indices, numbers, or labels of 0 and 1.

    One column is read by `encode`, except for tasks with several targets. Several columns are
    labels if all of them hold 0 and 1, or words for true and false, and numbers if none does. If
    the task is ``multi-label``, one column of lists, such as ``red|blue``, gives a label for each
    item.

    Args:
        columns: the target columns, with a row for every example.
        task: ``None`` to infer the task.
        kinds: the kinds that the user gives to columns.
        hint: the decimal mark of the table, used if these numbers do not show it.

    Raises:
        DataError: numbers and labels are mixed, a column cannot be read, or every row has exactly
            one label and the task is not given.

    >>> found = encode_columns(pd.DataFrame({"red": ["yes", "no", "yes"], "round": [1, 1, 0]}))
    >>> found.task, found.names, found.y.tolist()
    ('multi-label', ('red', 'round'), [[1, 1], [0, 1], [1, 0]])
    """
    if task not in (None, *TASKS):
        raise DataError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    names, kinds = tuple(map(str, columns)), kinds or {}
    columns = columns.set_axis(names, axis=1).reset_index(drop=True)
    is_several = task in TASKS and TASKS[task].is_several
    if len(names) == 1 and not is_several and kinds.get(names[0]) != "list":
        return encode(columns[names[0]], names[0], task, kind=kinds.get(names[0]), hint=hint)
    readers = {name: find_labels(_few_words(columns[name])) for name in names}
    is_list = task in (None, "multi-label") and readers[names[0]] is None
    if len(names) == 1 and is_list:
        return _encode_list(columns[names[0]], names[0])
    if _are_numbers(readers, task):
        parts = tuple(
            encode(columns[name], name, "multi-output", kind=kinds.get(name), hint=hint)
            for name in names
        )
        notes = tuple(note for part in parts for note in part.notes)
        notes += _note_codes(parts) if task is None else ()
        y = np.column_stack([part.y for part in parts])
        return Target(y, "multi-output", (), name_several(names), notes, names=names, parts=parts)
    parts = tuple(_encode_label(columns[name], name, reader) for name, reader in readers.items())
    return _choose_reading(parts, names, task)


def encode_columns_like(columns: pd.DataFrame, train: Target) -> tuple[Array, tuple[str, ...]]:
    """Encode the target columns of a test set in the same way as those of the training rows."""
    columns = columns.reset_index(drop=True)
    if isinstance(train.reader, ListReader):
        return _read_list(columns.iloc[:, 0], train.reader), ()
    if not train.parts:
        return encode_like(columns.iloc[:, 0], train)
    notes: tuple[str, ...] = ()
    found = []
    for part in train.parts:
        values, name = columns[part.name], f"{part.name} (test set)"
        if isinstance(part.reader, BooleanReader):
            found.append(_read_label(values, name, part.reader))
        else:
            y, more = encode_like(values, part)
            found.append(y)
            notes += more
    y = np.column_stack(found)
    if train.task != "classification":
        return y, notes
    _check_one_hot(y, train.classes, "the test set's targets")
    return y.argmax(1), notes


def _note_codes(parts: Sequence[Target]) -> tuple[str, ...]:
    """Note which targets are read as numbers but may be classes."""
    codes = [part.name for part in parts if guess_task(part.y, part.name)[0] == "classification"]
    if not codes:
        return ()
    return (
        f"the few integers of {name_several(codes)} are taken as numbers, as those of several "
        "targets are; if they are classes, predict each in a study of its own",
    )


def _few_words(values: pd.Series) -> list[str]:
    """Return the distinct cells of a column, or nothing if it holds more than two numbers."""
    numbers = plain_numbers(values)
    if numbers is None:
        return list(read_cells(values).words)
    distinct = np.unique(numbers[~np.isnan(numbers)])
    return [plain(number) for number in distinct] if len(distinct) <= 2 else []


def _are_numbers(readers: Mapping[str, BooleanReader | None], task: str | None) -> bool:
    """Return whether several columns are numbers; raise `DataError` if kinds are mixed."""
    if task in ("regression", "multi-output"):
        return True
    labels = [name for name, reader in readers.items() if reader is not None]
    others = [name for name in readers if name not in labels]
    if others and task is not None:
        raise DataError(
            f"several targets of a {task} must hold {_LABELS} in every row, and {others[0]!r} does "
            "not; leave it out"
        )
    if others and labels:
        in_words = any(readers[name].true != "1" for name in labels)  # type: ignore[union-attr]
        raise DataError(
            f"target {labels[0]!r} holds labels and {others[0]!r} does not, but one study predicts "
            "labels or numbers: leave one kind out"
            + ("" if in_words else ", or take 0 and 1 as numbers with --task multi-output")
        )
    return bool(others)


def _choose_reading(parts: tuple[Target, ...], names: tuple[str, ...], task: str | None) -> Target:
    """Return labels, or the classes of one-hot rows if the task is classification."""
    y, name = np.column_stack([part.y for part in parts]), name_several(names)
    if task == "classification":
        _check_one_hot(y, names, f"the targets {name}")
        return Target(y.argmax(1), "classification", names, name, parts=parts)
    if task is None and (y.sum(1) == 1).all():
        raise DataError(
            f"the targets {name} have exactly one 1 in every row: ask for --task classification if "
            "each row is of one class (as with y.argmax(1)), or for --task multi-label if several "
            "may hold"
        )
    return Target(y, "multi-label", (), name, names=names, parts=parts)


def _check_one_hot(y: Array, names: tuple[str, ...], what: str) -> None:
    held = y.sum(1)
    if (held != 1).any():
        row = int((held != 1).argmax())
        raise DataError(
            f"{what} must have exactly one 1 in every row to be classes, and row {row + 1} has "
            f"{held[row]} of {len(names)}; ask for --task multi-label"
        )


def _encode_label(values: pd.Series, name: str, reader: BooleanReader | None) -> Target:
    assert reader is not None  # otherwise an error was raised before
    y = _read_label(values, name, reader)
    if len(set(y.tolist())) == 1:
        word = reader.true if y[0] else reader.false
        raise DataError(
            f"target {name!r} is {word!r} in every row; there is nothing to learn, leave it out"
        )
    return Target(y, "classification", (reader.false, reader.true), name, reader=reader)


def _read_label(values: pd.Series, name: str, reader: BooleanReader) -> Array:
    """Convert a column of labels to 0 and 1."""
    cells = read_cells(values)
    refuse_gaps(values, cells.index < 0, name)
    held = cells.read(reader)[""][cells.index]
    if np.isnan(held).any():
        row = int(np.isnan(held).argmax())
        raise DataError(
            f"target {name!r} must hold {reader.true!r} or {reader.false!r}, as in the training "
            f"rows, got {cells.words[cells.index[row]]!r} in row {row + 1}"
        )
    return held.astype(np.int64)


def _encode_list(values: pd.Series, name: str) -> Target:
    """Convert a column of lists to a label for each item."""
    cells = read_cells(values)
    reader = find_list(cells, is_given=True)
    if reader is None:
        raise DataError(
            f"target {name!r} cannot be read as labels: these are several columns of {_LABELS} as "
            "in --target red,blue, or lists such as red|blue in one"
        )
    notes: tuple[str, ...] = ()
    if rare := reader.left_out(cells.words):
        notes = (
            f"labels of target {name!r} that almost no row or every row has were left out: "
            f"{name_several(rare)}",
        )
    y = _read_list(values, reader)
    return Target(y, "multi-label", (), name, notes, reader=reader, names=reader.items)


def _read_list(values: pd.Series, reader: ListReader) -> Array:
    """Return the labels of each row; an empty cell has no labels."""
    cells = read_cells(values)
    return np.column_stack([held[cells.index] for held in cells.read(reader).values()]).astype(
        np.int64
    )
