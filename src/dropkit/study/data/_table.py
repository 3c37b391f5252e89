"""Create `Data` from a table in a file or a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._columns import find_decimal_mark, kept_readings, read_columns
from dropkit.study.data._data import Array, Data
from dropkit.study.data._keys import Key, describe_key, find_keys, name_key, read_key
from dropkit.study.data._lost import add_loss_doubts
from dropkit.study.data._plain import as_numbers, plain_table
from dropkit.study.data._repeats import add_repeat_doubts
from dropkit.study.data._targets import encode_columns, encode_columns_like
from dropkit.study.data._text import check_unique, read_text_table
from dropkit.study.parquet import read_parquet
from dropkit.study.reading import KEYS, ColumnReading
from dropkit.study.tasks import split_names
from dropkit.text import nearest

Column: TypeAlias = str | int
"""A column's name or position: 1 is the first, -1 the last."""

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_USUAL_TARGETS = ("target", "label", "class", "y")


def load_table(
    path: Path,
    *,
    target: Column | Sequence[Column] | None = None,
    test: Path | None = None,
    task: str | None = None,
    header: bool | None = None,
    preprocess: bool = True,
    read: Mapping[str, str] | None = None,
    key: Key | None = None,
    val: Path | None = None,
) -> Data:
    """Read a table and, if given, its test table; see `dropkit.study.data.load`."""
    frame, named = _read(path, header)
    notes = []
    if not named:
        notes.append(
            f"no header row found: the columns are named {frame.columns[0]} … {frame.columns[-1]}"
        )
    if target is None:
        target, note = usual_target(frame)
        notes.append(note)
    header = named if header is None else header
    test_frame = None if test is None else _read_like(test, header, frame, path)
    val_rows = None
    if val is not None:
        more = _read_like(val, header, frame, path)
        frame, val_rows = with_validation(frame, more, str(val))
    return from_frame(
        frame,
        target,
        test_frame,
        task=task,
        name=path.name,
        notes=tuple(notes),
        preprocess=preprocess,
        read=read,
        key=key,
        val_rows=val_rows,
    )


def from_frame(
    frame: pd.DataFrame,
    target: Column | Sequence[Column],
    test: pd.DataFrame | None = None,
    *,
    task: str | None = None,
    name: str,
    notes: tuple[str, ...] = (),
    preprocess: bool = True,
    read: Mapping[str, str] | None = None,
    key: Key | None = None,
    val_rows: Array | None = None,
) -> Data:
    """Create `Data` from a table with its target columns, and a test table with the same columns.

    ``read`` holds the kinds of some columns, ``key`` names the column that splits the rows, and
    ``val_rows`` numbers the rows of a fixed validation set. Without preprocessing, the features are
    an array of the table's numbers.
    """
    frame = with_text_names(frame)
    columns_of_target = find_columns(frame, target)
    told = dict(read or {})
    hint = find_decimal_mark(frame)
    kinds = {column: told.pop(column, None) for column in columns_of_target}
    encoded = encode_columns(frame[columns_of_target], task, kinds=kinds, hint=hint)
    given, notes = frame.drop(columns=columns_of_target), notes + encoded.notes
    keys, key_name = None, ""
    readings_of_key: tuple[ColumnReading, ...] = ()
    if key is not None:
        key_name = name_key(key, given)
        keys = read_key(key, given[key_name], key_name)
        # A group is not a feature, because test rows belong to other groups.
        is_kept = key.kind == "time" and preprocess and key_name not in frame.attrs.get(KEYS, ())
        if not is_kept:
            told.pop(key_name, None)
            given = given.drop(columns=key_name)
            readings_of_key = (describe_key(key, keys, key_name),)
    readings: tuple[ColumnReading, ...] = ()
    if preprocess:
        columns = read_columns(given, told, hint=hint)
        X, notes = columns.X, notes + columns.notes
        readings = kept_readings(frame) or columns.readings + readings_of_key
        if key is None and test is None:
            notes += tuple(find_keys(X, columns.readings))
    elif told:
        raise DataError("read has no meaning without preprocessing; leave one of them out")
    else:
        given = as_numbers(given)
        X = plain_table(given, given, "the table")
    X_test = y_test = None
    if test is not None:
        test = with_text_names(test)
        if absent := [column for column in columns_of_target if column not in test]:
            near = nearest(absent[0], test.columns)
            raise DataError(f"the test set has no target column {absent[0]!r}: {near}")
        y_test, relabelled = encode_columns_like(test[columns_of_target], encoded)
        if preprocess:
            X_test, odd = columns.read_test(test)
        else:
            X_test, odd = plain_table(as_numbers(test), given, "the test set"), ()
        extra = [str(c) for c in test if c not in frame]
        ignored = (f"ignored columns that only the test set has: {', '.join(extra)}",)
        notes += relabelled + odd + (ignored if extra else ())
    data = Data(
        name,
        X,
        encoded.y,
        encoded.task,
        encoded.classes,
        encoded.name,
        X_test,
        y_test,
        notes,
        readings,
        keys,
        key_name,
        val_rows,
        targets=encoded.names,
    )
    data = add_repeat_doubts(data)
    return add_loss_doubts(data, given) if preprocess else data


def with_validation(
    frame: pd.DataFrame, more: pd.DataFrame, name: str
) -> tuple[pd.DataFrame, Array]:
    """Append fixed validation rows to the other rows, and return their row numbers."""
    if absent := [column for column in frame if column not in more]:
        hint = nearest(str(absent[0]), map(str, more.columns))
        raise DataError(f"{name} has no column {str(absent[0])!r}: {hint}")
    more = more[list(frame)]
    for column in frame:
        kinds = frame[column].dtype, more[column].dtype
        if kinds[0] != kinds[1] and all(isinstance(k, pd.CategoricalDtype) for k in kinds):
            both_kinds = pd.CategoricalDtype(kinds[0].categories.union(kinds[1].categories))
            frame, more = (each.astype({column: both_kinds}) for each in (frame, more))
    both = pd.concat([frame, more], ignore_index=True)
    both.attrs = frame.attrs
    return both, np.arange(len(frame), len(both))


def _read_like(path: Path, header: bool, frame: pd.DataFrame, beside: Path) -> pd.DataFrame:
    """Read a table that must have the same columns as another table."""
    found, named = _read(path, header)
    if not named and found.shape[1] != frame.shape[1]:
        raise DataError(
            f"{path} has {found.shape[1]} columns, {beside} has {frame.shape[1]}; they must have "
            "the same columns"
        )
    return found


def find_columns(frame: pd.DataFrame, target: Column | Sequence[Column]) -> list[str]:
    """Return the names of columns given by name or position; a text may name several.

    >>> find_columns(pd.DataFrame(columns=["a", "b", "c"]), "c, a")
    ['c', 'a']
    """
    if isinstance(target, str) and "," in target and target not in frame.columns:
        target = split_names(target)
    if isinstance(target, str | int):
        return [find_column(frame, target)]
    found = [find_column(frame, column) for column in target]
    if twice := [name for i, name in enumerate(found) if name in found[:i]]:
        raise DataError(f"target {twice[0]!r} is named twice; name each column once")
    if not found:
        raise DataError("target names no column; give one at least")
    return found


def find_column(frame: pd.DataFrame, target: Column) -> str:
    """Return the name of a column given by name or position: 1 is the first, -1 the last.

    >>> find_column(pd.DataFrame(columns=["a", "b", "c"]), -1)
    'c'
    """
    if str(target) in frame.columns:
        return str(target)
    try:
        position = int(target)
    except ValueError:
        hint = nearest(str(target), frame.columns)
        raise DataError(f"no column {target!r} to predict: {hint}") from None
    if not 1 <= abs(position) <= frame.shape[1]:
        raise DataError(
            f"no column {position}: the table has {frame.shape[1]} columns; "
            "1 is the first and -1 the last"
        )
    return str(frame.columns[position - (position > 0)])


def with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    names = [str(column) for column in frame.columns]
    check_unique(names, "the table")
    return frame.set_axis(names, axis=1)


def usual_target(frame: pd.DataFrame) -> tuple[str, str]:
    for column in frame.columns:
        if column.lower() in _USUAL_TARGETS:
            return column, f"target not given: column {column!r} was taken"
    last = str(frame.columns[-1])
    return last, f"target not given: the last column {last!r} was taken"


def _read(path: Path, header: bool | None) -> tuple[pd.DataFrame, bool]:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is not a table; the test set must be one of {', '.join(SUFFIXES)}")
    if path.suffix.lower() != ".parquet":
        return read_text_table(path, header)
    frame = read_parquet(path)
    if frame.empty:
        raise DataError(f"{path} is empty: {len(frame)} rows, {frame.shape[1]} columns")
    return with_text_names(frame), True
