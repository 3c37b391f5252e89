"""Describe how a column was read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dropkit.study.data._cells import Cells, plain
from dropkit.study.data._choices import Choice
from dropkit.study.data._data import Array
from dropkit.study.data._dates import DateReader, DurationReader
from dropkit.study.data._numbers import NumberReader
from dropkit.study.reading import ColumnReading

_REASONS = {
    "constant": "constant columns",
    "empty": "columns without any value",
    "row number": "columns that count the rows",
    "identifier": "identifiers, which differ in every row",
    "text": "free text",
    "duplicate": "columns that repeat another",
    "drop": "as asked for",
}
_KEPT_BY = {"row number": "number", "identifier": "category", "text": "text"}


def describe(
    name: str,
    values: pd.Series,
    choice: Choice,
    features: tuple[str, ...],
    arrays: dict[str, Array],
    cells: Cells | None,
) -> ColumnReading:
    reader = choice.reader
    examples, dropped = _examples(values, cells)
    lowest = highest = ""
    first = next(iter(arrays.values()), None)
    if isinstance(reader, NumberReader | DurationReader | DateReader) and first is not None:
        low, high = float(np.nanmin(first)), float(np.nanmax(first))
        show = _show_day if isinstance(reader, DateReader) else plain
        lowest, highest = show(low), show(high)
    if cells is not None:
        missing, distinct = len(values) - cells.present, len(cells.words)
    else:
        missing, distinct = int(values.isna().sum()), int(values.nunique())
        if first is not None and first.dtype != object:
            missing = int(np.isnan(first).sum())
    return ColumnReading(
        name=name,
        kind=reader.kind if reader else choice.left_out,
        how=choice.how or (reader.how if reader else ""),
        becomes=features,
        examples=examples,
        lowest=lowest,
        highest=highest,
        rows=len(values),
        missing=missing,
        missing_words=dropped,
        distinct=distinct,
        notes=choice.notes,
    )


def list_left_out(readings: Sequence[ColumnReading]) -> list[str]:
    """Return a line for each reason to leave columns out, with the names of the columns."""
    names: dict[str, list[str]] = {}
    for reading in readings:
        if reading.is_left_out:
            names.setdefault(reading.kind, []).append(reading.name)
    notes = []
    for kind, found in names.items():
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        kept = f" (--read {found[0]}={_KEPT_BY[kind]} keeps one)" if kind in _KEPT_BY else ""
        notes.append(f"dropped {_REASONS[kind]}: {', '.join(found[:5])}{more}{kept}")
    return notes


def _examples(values: pd.Series, cells: Cells | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if cells is not None:
        return cells.words[:3], cells.dropped
    few = values.iloc[:1000].dropna().drop_duplicates().iloc[:3]
    numeric = pd.api.types.is_float_dtype(values)
    return tuple(plain(v) if numeric else str(v).strip() for v in few), ()


def _show_day(days: float) -> str:
    return str(pd.Timestamp(round(86400 * days), unit="s")).removesuffix(" 00:00:00")
