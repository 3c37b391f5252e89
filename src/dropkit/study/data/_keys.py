"""Read the column that splits rows by time or by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._cells import is_date, plain_numbers, read_cells
from dropkit.study.data._choices import describe_unread, unread_words
from dropkit.study.data._data import Array
from dropkit.study.data._dates import find_date, seconds_since
from dropkit.study.data._plain_numbers import name_tokens
from dropkit.study.reading import KEYS, ColumnReading
from dropkit.text import nearest

# More different times or groups than this are probably not a coincidence.
_MANY = 10

_WHOSE = {
    *("id", "ids", "uuid", "guid", "patient", "customer", "client", "user", "subject", "person"),
    *("household", "student", "employee", "participant", "device", "machine", "session", "account"),
}


@dataclass(frozen=True)
class Key:
    """The column that splits rows; an empty name means the only column of dates."""

    kind: Literal["time", "group"]
    column: str = ""


def name_key(key: Key, frame: pd.DataFrame) -> str:
    """Return the name of the key's column; raise `DataError` if it does not exist."""
    if key.column:
        if key.column not in frame:
            hint = nearest(key.column, frame.columns)
            raise DataError(f"no column {key.column!r} to split by {key.kind}: {hint}")
        return key.column
    if kept := frame.attrs.get(KEYS):
        return str(kept[0])
    found = [str(name) for name in frame if _holds_dates(frame[name])]
    if len(found) != 1:
        which = f"columns {', '.join(found)} hold dates" if found else "no column holds dates"
        raise DataError(f"{which}; say with --time which column to split by")
    return found[0]


def read_key(key: Key, values: pd.Series, name: str) -> Array:
    """Return the time of every row as a number, or the number of its group."""
    if key.kind == "group":
        index = read_cells(values).index
        return _complete(np.where(index < 0, np.nan, index), name, "group").astype(np.int64)
    if is_date(values):
        return _complete(seconds_since(values), name, "time")
    if (numbers := plain_numbers(values)) is not None:
        return _complete(numbers, name, "time")
    cells = read_cells(values)
    reader = find_date(cells.words)
    unread = np.ones(len(cells.words), bool) if reader is None else unread_words(reader, cells)
    if reader is None or unread.any():
        raise DataError(
            f"column {name!r} must hold a time in every row, got {describe_unread(cells, unread)}"
        )
    return _complete(cells.read(reader)["days"][cells.index], name, "time")


def find_keys(X: pd.DataFrame, readings: Sequence[ColumnReading]) -> list[str]:
    """Return a line for each column whose groups or time order a random split would ignore."""
    notes = []
    for reading in readings:
        name = reading.name
        if reading.kind == "date" and reading.distinct > _MANY and not reading.missing:
            steps = np.diff(X[reading.becomes[0]].to_numpy())
            if (steps >= 0).all() or (steps <= 0).all():
                notes.append(
                    f"the rows are sorted by {name!r}: a random split trains on rows later "
                    f"than the test rows; --split time --time {name} does not"
                )
        is_whose = bool(_WHOSE.intersection(name_tokens(name)))
        if is_whose and reading.kind in ("category", "identifier", "number"):
            groups, rows = reading.distinct, reading.rows - reading.missing
            if _MANY < groups < 0.95 * rows:
                notes.append(
                    f"the {rows} rows share {groups} values of {name!r}: a random split puts one "
                    f"value into training and test; --split group --group {name} does not"
                )
    return notes


def describe_key(key: Key, values: Array, name: str) -> ColumnReading:
    """Describe a column that splits the rows and is not a feature."""
    distinct = len(np.unique(values))
    return ColumnReading(
        name=name,
        kind=key.kind,
        how="what the rows are split by",
        rows=len(values),
        distinct=distinct,
    )


def _holds_dates(values: pd.Series) -> bool:
    if is_date(values):
        return True
    if plain_numbers(values) is not None:
        return False
    cells = read_cells(values)
    reader = find_date(cells.words)
    return reader is not None and not unread_words(reader, cells).any()


def _complete(values: Array, name: str, kind: str) -> Array:
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"column {name!r} must hold a {kind} in every row, but {len(missing)} rows have none, "
            f"first row {missing[0] + 1}"
        )
    return values
