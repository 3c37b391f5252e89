"""Read the columns of a table, in the same way for training and test rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from dropkit.errors import DataError
from dropkit.study.data._categories import CategoryReader, ListReader
from dropkit.study.data._cells import Cells, is_date, plain_numbers, read_cells
from dropkit.study.data._choices import (
    MOST_STRAY,
    Choice,
    Reader,
    describe_unread,
    unread_words,
)
from dropkit.study.data._data import Array
from dropkit.study.data._dates import DateReader, DurationReader, TimeReader, seconds_since
from dropkit.study.data._described import describe, list_left_out
from dropkit.study.data._kinds import choose, choose_categories, choose_given
from dropkit.study.data._numbers import NumberReader, decimal_of
from dropkit.study.data._plain_numbers import choose_for_numbers
from dropkit.study.reading import READINGS, ColumnReading
from dropkit.text import nearest

# Up to this size, squares of features and their sums remain finite in float64.
LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Columns:
    """The features of a table, and how they were read.

    Args:
        X: the features, float64 or text.
        readings: how every column was read, in the order of the table.
        readers: the readers of the columns that are kept.
        notes: one line for each surprise.
    """

    X: pd.DataFrame
    readings: tuple[ColumnReading, ...]
    readers: dict[str, Reader]
    notes: tuple[str, ...]

    def read_test(
        self, frame: pd.DataFrame, named: str = "test column", first: str = "training rows"
    ) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Read another table, such as a test set, as this one was read; also return notes.

        ``named`` is what messages call a column of the other table, and ``first`` is what they call
        the rows of this table.
        """
        made: dict[str, Any] = {}
        notes = []
        for reading in self.readings:
            if reading.is_left_out:
                continue
            name, reader = reading.name, self.readers[reading.name]
            if name not in frame:
                hint = nearest(name, frame.columns)
                raise DataError(f"the test set has no column {name!r}: {hint}")
            values = frame[name]
            if (direct := _read_directly(values, plain_numbers(values), reader)) is None:
                cells = read_cells(values)
                if isinstance(reader, CategoryReader):
                    words = set(reading.missing_words)
                    cells = cells.without(i for i, w in enumerate(cells.words) if w in words)
                else:
                    cells = cells.without_gaps()
                unread = unread_words(reader, cells)
                if cells.rows(unread) > MOST_STRAY * cells.present:
                    raise DataError(
                        f"{named} {name!r} must hold {_plural(reader)}, as in the {first}, "
                        f"got text in {cells.rows(unread)} of {len(values)} rows: "
                        f"{describe_unread(cells, unread)}; correct these cells or empty them"
                    )
                if unread.any():
                    notes.append(_describe_missing(f"{named} {name!r}", reader, cells, unread))
                direct = {k: v[cells.index] for k, v in cells.read(reader).items()}
            arrays = list(direct.values())
            for feature, array in zip(reading.becomes, arrays, strict=True):
                made[feature] = _check_range(name, array)
        return _to_frame(made, len(frame)), tuple(notes)


def read_columns(
    frame: pd.DataFrame, kinds: Mapping[str, str] | None = None, *, hint: str = ""
) -> Columns:
    """Read every column of a table by its values, and leave out columns that cannot help.

    Args:
        frame: the table without its target.
        kinds: kinds that the user gives to columns; such a column is left out only if the kind is
            ``drop``.
        hint: the decimal mark of the table, used for columns whose values do not show it.

    Raises:
        DataError: a column cannot be read as its kind, a number is infinite, or no feature is left.
    """
    kinds = kinds or {}
    _check_given(kinds, frame)
    kept_readings = frame.attrs.get(READINGS)
    readings: list[ColumnReading] = []
    readers: dict[str, Reader] = {}
    notes: list[str] = []
    made: dict[str, Any] = {}
    seen: dict[Any, str] = {}
    for name in map(str, frame.columns):
        values = frame[name]
        numbers = plain_numbers(values)
        if kept_readings is not None:
            choice, cells = _choose_by_type(values, numbers)
        else:
            choice, cells = _choose(name, values, numbers, kinds.get(name), hint)
        arrays: dict[str, Array] = {}
        if choice.reader is not None:
            arrays, reader, odd = _read(name, values, numbers, choice.reader, cells)
            choice = replace(choice, reader=reader, notes=choice.notes + odd)
            key = tuple(map(_content, arrays.values()))
            if kept_readings is None and name not in kinds and key in seen:
                choice, arrays = Choice(None, "duplicate", f"as {seen[key]}"), {}
            elif arrays:
                seen[key] = name
                readers[name] = reader
            else:  # such as a date that never varies
                choice = Choice(None, "constant")
        features = _name_features(name, choice.reader, arrays, {*made, *frame.columns} - {name})
        made |= {f: _check_range(name, a) for f, a in zip(features, arrays.values(), strict=True)}
        readings.append(describe(name, values, choice, features, arrays, cells))
        notes += choice.notes
    notes += list_left_out(readings)
    if not made:
        raise DataError("no feature is left to learn from: " + "; ".join(notes))
    X = _to_frame(made, len(frame))
    if kept_readings is not None:
        return Columns(X, tuple(readings), readers, ())
    return Columns(X, tuple(readings), readers, tuple(notes))


def kept_readings(frame: pd.DataFrame) -> tuple[ColumnReading, ...] | None:
    """Return how the columns of a saved table were first read; ``None`` for any other table."""
    found = frame.attrs.get(READINGS)
    if found is None:
        return None
    return TypeAdapter(tuple[ColumnReading, ...]).validate_python(found)


def first_infinite(values: Array) -> int | None:
    """Return the position of the first infinite number, or ``None``."""
    found = np.flatnonzero(np.isinf(values))
    return int(found[0]) if len(found) else None


def _choose(
    name: str, values: pd.Series, numbers: Array | None, kind: str | None, hint: str
) -> tuple[Choice, Cells | None]:
    if kind is not None:
        if kind == "number" and numbers is not None:
            return Choice(NumberReader()), None
        return choose_given(name, read_cells(values), kind, hint)
    if is_date(values):
        if values.isna().all():
            return Choice(None, "empty"), None
        is_span = values.dtype.kind == "m"
        return Choice(DurationReader() if is_span else DateReader()), None
    if isinstance(values.dtype, pd.CategoricalDtype):
        cells = read_cells(values)
        return choose_categories(name, cells), cells
    if numbers is not None:
        is_text = not pd.api.types.is_numeric_dtype(values)
        words = pd.unique(values.dropna()) if is_text else None
        clean = None if words is None else [str(word).strip() for word in words]
        if not (hint == "," and clean and any("." in word for word in clean)):
            choice = choose_for_numbers(name, numbers, clean)
            if choice is not None:
                return choice, None
    return choose(name, read_cells(values), hint)


def _choose_by_type(values: pd.Series, numbers: Array | None) -> tuple[Choice, Cells | None]:
    """Choose a reader for a column by its type alone."""
    if numbers is not None:
        return Choice(NumberReader()), None
    return Choice(CategoryReader()), read_cells(values)


def _read(
    name: str, values: pd.Series, numbers: Array | None, reader: Reader, cells: Cells | None
) -> tuple[dict[str, Array], Reader, tuple[str, ...]]:
    """Return the column's arrays, its reader restricted to features that vary, and notes."""
    direct = None if cells is not None else _read_directly(values, numbers, reader)
    notes: tuple[str, ...] = ()
    if direct is None:
        cells = read_cells(values) if cells is None else cells
        unread = unread_words(reader, cells)
        if unread.any():
            notes = (_describe_missing(f"column {name!r}", reader, cells, unread),)
        direct = {k: array[cells.index] for k, array in cells.read(reader).items()}
    if isinstance(reader, DateReader):
        varying = {k: array for k, array in direct.items() if _varies(array)}
        return varying, replace(reader, features_of=tuple(varying)), notes
    return direct, reader, notes


def _read_directly(
    values: pd.Series, numbers: Array | None, reader: Reader
) -> dict[str, Array] | None:
    """Return the arrays of a column that is not text, or ``None``."""
    if is_date(values) and isinstance(reader, DateReader | DurationReader):
        seconds = seconds_since(values)
        if isinstance(reader, DurationReader):
            return {"": seconds}
        return {name: array[:-1] for name, array in reader.turn(seconds).items()}
    numeric = pd.api.types.is_numeric_dtype(values)
    plainly = isinstance(reader, NumberReader) and (numeric or reader.decimal == ".")
    epoch = isinstance(reader, DateReader) and reader.epoch
    if not (plainly or epoch) or numbers is None:
        return None
    if isinstance(reader, DateReader):
        return {name: array[:-1] for name, array in reader.turn(numbers * reader.epoch).items()}
    return {"": numbers}


def _varies(array: Array) -> bool:
    known = array[~np.isnan(array)]
    return len(known) < len(array) or (bool(len(known)) and float(np.ptp(known)) > 0)


def _name_features(
    name: str, reader: Reader | None, arrays: dict[str, Array], taken: set[str]
) -> tuple[str, ...]:
    between = ": " if isinstance(reader, ListReader) else " "
    names: list[str] = []
    for part in arrays:
        feature = f"{name}{between}{part}" if part else name
        while feature in taken or feature in names:
            feature += "_"
        names.append(feature)
    return tuple(names)


def _content(array: Array) -> Any:
    """Return a value that is equal for two arrays only if their values are equal."""
    if array.dtype != object:
        return hash(array.tobytes())
    index, words = pd.factorize(array)
    return hash((index.tobytes(), tuple(words)))


def _to_frame(made: Mapping[str, Array], rows: int) -> pd.DataFrame:
    # Set the type; otherwise pandas may choose another one for text.
    columns = {name: pd.Series(array, dtype=array.dtype) for name, array in made.items()}
    return pd.DataFrame(columns, index=range(rows))


def _check_range(name: str, values: Array) -> Array:
    if values.dtype == object:
        return values
    if (row := first_infinite(values)) is not None:
        raise DataError(
            f"column {name!r} is infinite in row {row + 1}; features must be finite or missing"
        )
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    if largest > LARGEST:
        raise DataError(
            f"column {name!r} must not exceed {LARGEST:g} in size, got {largest:g}; if that stands "
            "for a missing value, leave the cell empty"
        )
    return values


def _describe_missing(column: str, reader: Reader, cells: Cells, unread: Array) -> str:
    return (
        f"{column} holds other cells among its {_plural(reader)}, taken as missing: "
        f"{describe_unread(cells, unread)}"
    )


def _plural(reader: Reader) -> str:
    if isinstance(reader, TimeReader):
        return "times of day"
    return {"boolean": "truth values", "category": "categories"}.get(reader.kind, f"{reader.kind}s")


def find_decimal_mark(frame: pd.DataFrame) -> str:
    """Return the most common decimal mark in the first cells of text columns."""
    marks: Counter[str] = Counter()
    for name in frame.columns:
        values = frame[name]
        if values.dtype == object or pd.api.types.is_string_dtype(values):
            cells = read_cells(values.iloc[:200])
            marks[decimal_of(cells.without_gaps().words)] += 1
    del marks[""]
    return marks.most_common(1)[0][0] if marks else ""


def _check_given(kinds: Mapping[str, str], frame: pd.DataFrame) -> None:
    for name, kind in kinds.items():
        if name not in frame:
            raise DataError(f"no column {name!r} to read as {kind}: {nearest(name, frame.columns)}")
