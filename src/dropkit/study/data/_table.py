"""Tables: from a file or a DataFrame to `Data`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropkit.errors import DataError, first_line
from dropkit.study.data._columns import find_decimal_mark, kept_readings, read_columns
from dropkit.study.data._data import Array, Data
from dropkit.study.data._keys import Key, describe_key, find_keys, name_key, read_key
from dropkit.study.data._lost import with_losses_told
from dropkit.study.data._plain import as_numbers, plain_table
from dropkit.study.data._repeats import with_repeats_told
from dropkit.study.data._target import encode, encode_like
from dropkit.study.data._text import check_unique, read_text_table
from dropkit.study.reading import KEYS, ColumnReading
from dropkit.text import nearest

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_USUAL_TARGETS = ("target", "label", "class", "y")


def load_table(
    path: Path,
    *,
    target: str | int | None = None,
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
        target, note = _usual_target(frame)
        notes.append(note)
    header = named if header is None else header
    test_frame = None if test is None else _read_like(test, header, frame, path)
    val_rows = None
    if val is not None:
        more = _read_like(val, header, frame, path)
        if absent := [name for name in frame if name not in more]:
            hint = nearest(absent[0], more.columns)
            raise DataError(f"{val} has no column {absent[0]!r}: {hint}")
        val_rows = np.arange(len(frame), len(frame) + len(more))
        frame = pd.concat([frame, more[list(frame)]], ignore_index=True)
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
    target: str | int,
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
    """Make `Data` of a table with a target column, and of a test table with the same columns.

    ``read`` says of some columns what they hold, ``key`` what the rows are divided by, and
    ``val_rows`` which of them are a fixed validation set. Without preprocessing the features are an
    array of the table's numbers.
    """
    frame = _with_text_names(frame)
    column = find_column(frame, target)
    told = dict(read or {})
    hint = find_decimal_mark(frame)
    encoded = encode(frame[column], column, task, kind=told.pop(column, None), hint=hint)
    given, notes = frame.drop(columns=column), notes + encoded.notes
    keys, key_name = None, ""
    readings_of_key: tuple[ColumnReading, ...] = ()
    if key is not None:
        key_name = name_key(key, given)
        keys = read_key(key, given[key_name], key_name)
        # A group is no feature: the test rows are of others.
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
        test = _with_text_names(test)
        if column not in test:
            near = nearest(column, test.columns)
            raise DataError(f"the test set has no target column {column!r}: {near}")
        y_test, relabelled = encode_like(test[column], encoded)
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
        column,
        X_test,
        y_test,
        notes,
        readings,
        keys,
        key_name,
        val_rows,
    )
    data = with_repeats_told(data)
    return with_losses_told(data, given) if preprocess else data


def _read_like(path: Path, header: bool, frame: pd.DataFrame, beside: Path) -> pd.DataFrame:
    """Read a table that has the columns of another one."""
    found, named = _read(path, header)
    if not named and found.shape[1] != frame.shape[1]:
        raise DataError(
            f"{path} has {found.shape[1]} columns, {beside} has {frame.shape[1]}; they must have "
            "the same columns"
        )
    return found


def find_column(frame: pd.DataFrame, target: str | int) -> str:
    """The column called ``target``, or at that position: 1 is the first, -1 the last.

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


def _with_text_names(frame: pd.DataFrame) -> pd.DataFrame:
    names = [str(column) for column in frame.columns]
    check_unique(names, "the table")
    return frame.set_axis(names, axis=1)


def _usual_target(frame: pd.DataFrame) -> tuple[str, str]:
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
    frame = _read_parquet(path)
    if frame.empty:
        raise DataError(f"{path} is empty: {len(frame)} rows, {frame.shape[1]} columns")
    return _with_text_names(frame), True


def _read_parquet(path: Path) -> Any:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
