"""Detect inputs whose information was lost in reading, which makes every result unreliable."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array, Data
from dropkit.study.data._preprocess import MAX_CATEGORIES, MIN_ROWS
from dropkit.study.reading import ColumnReading

# Doubt the data if a larger share of columns, or of rows, is lost. The limit for rows is higher,
# because half of the rows may share their features by chance.
_MOST, _MOST_ROWS = 0.5, 0.8
# A column is lost if at least this share of its cells holds words too rare for their own feature.
_RARE = 0.9
_AMOUNT = re.compile(r"\d[.,]\d|[$€£¥%]")
# Kinds of columns that carry no information, or only the information of another column.
_EMPTY = {"constant", "duplicate", "empty", "row number", "group", "drop"}


def add_loss_doubts(data: Data, given: pd.DataFrame) -> Data:
    """Add a doubt to the data if most of the table's information was lost in reading.

    A column is lost if nearly all of its words are too rare for their own feature, or if it is left
    out as text. It is also lost if it is left out as an identifier but looks like numbers or dates.
    A row is lost if it has the same features as another row but other cells in the table.

    Args:
        data: the rows as they were read.
        given: the table that the rows were read from, without its target.
    """
    used = [r for r in data.columns if r.kind not in _EMPTY and not _is_mere_name(r)]
    lost = [reading for reading in used if _is_lost(reading, data.X)]
    twins = _count_twins(data.X, given, used)
    if not lost or (len(lost) <= _MOST * len(used) and twins <= _MOST_ROWS * len(data.X)):
        return data
    names = ", ".join(repr(reading.name) for reading in lost[:5])
    names += f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    are_text = all(reading.kind == "text" for reading in lost)
    how = (
        "hold text, which is left out"
        if are_text
        else "were read as categories, and almost all of their values are too rare to use"
    )
    same = (
        f"; {twins:,} of {len(data.X):,} rows have the same features as another row"
        if twins
        else ""
    )
    advice = f"{lost[0].name}=text" if are_text else f"{lost[0].name}=number"
    doubt = (
        f"Most inputs were lost in reading: {len(lost)} of {len(used)} columns ({names}) "
        f"{how}{same}. Correct the kinds of these columns, for example: --read {advice}"
    )
    return replace(data, doubts=(doubt, *data.doubts))


def _is_mere_name(reading: ColumnReading) -> bool:
    """Return whether a column only names rows, without notes and without looking like amounts."""
    if reading.kind != "identifier" or reading.notes:
        return False
    return not all(map(_AMOUNT.search, reading.examples))


def _is_lost(reading: ColumnReading, X: pd.DataFrame) -> bool:
    if reading.is_left_out:
        return True
    values = X[reading.becomes[0]]
    if reading.kind != "category" or values.dtype != object:
        return False
    counts = values.value_counts()
    kept = counts[counts >= MIN_ROWS][:MAX_CATEGORIES].sum()
    return bool(kept < (1 - _RARE) * counts.sum())


def _count_twins(X: pd.DataFrame, given: pd.DataFrame, used: Sequence[ColumnReading]) -> int:
    """Count rows that share all features with another row but differ from it in the table."""
    told = {name: _merge_rare(X[name]) for name in X}
    features = _mark_repeated(pd.DataFrame(told))
    if features.mean() <= _MOST_ROWS:
        return 0
    columns = [reading.name for reading in used if reading.name in given]
    cells = _mark_repeated(given[columns].astype(str)) if columns else np.ones(len(X), bool)
    return int((features & ~cells).sum())


def _merge_rare(values: pd.Series) -> pd.Series:
    """Merge the rare words that preprocessing cannot distinguish."""
    if pd.api.types.is_numeric_dtype(values):
        return values
    counts = values.value_counts()
    frequent = counts[counts >= MIN_ROWS].index[:MAX_CATEGORIES]
    rare = values.map(counts).astype(str) if len(counts) > MAX_CATEGORIES else ""
    return values.astype(str).where(values.isin(frequent) | values.isna(), rare)


def _mark_repeated(table: pd.DataFrame) -> Array:
    rows = pd.util.hash_pandas_object(table, index=False)
    return np.asarray(rows.duplicated(keep=False))
