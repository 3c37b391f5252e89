"""Inputs that reading has lost: nothing can then be said of any method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array, Data
from dropkit.study.data._preprocess import MAX_CATEGORIES, MIN_ROWS
from dropkit.study.reading import ColumnReading

# More than so much of the columns, or of the rows, is most of them: half of the rows may share
# their features by chance.
_MOST, _MOST_ROWS = 0.5, 0.8
# Of so many cells the value is too rare for a feature of its own.
_RARE = 0.9
_AMOUNT = re.compile(r"\d[.,]\d|[$€£¥%]")
# What is left out of these says nothing of the rows, or what another column says.
_EMPTY = {"constant", "duplicate", "empty", "row number", "group", "drop"}


def with_losses_told(data: Data, given: pd.DataFrame) -> Data:
    """The data, with a doubt if most of what its table says was lost in reading.

    A column is lost if nearly all of its words are too rare for a feature of their own, if it is
    left out as text, or as an identifier though it looks like numbers or dates. Rows are lost if
    their features are those of another row, and what the table says of them is not.

    Args:
        data: the rows as they were read.
        given: the table that they were read from, without its target.
    """
    used = [r for r in data.columns if r.kind not in _EMPTY and not _is_mere_name(r)]
    lost = [reading for reading in used if _is_lost(reading, data.X)]
    twins = _count_twins(data.X, given, used)
    if not lost or (len(lost) <= _MOST * len(used) and twins <= _MOST_ROWS * len(data.X)):
        return data
    names = ", ".join(repr(reading.name) for reading in lost[:5])
    names += f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    are_text = all(reading.kind == "text" for reading in lost)
    hold = "text, which is left out" if are_text else "words, of which nearly all are rare"
    same = f"; {twins:,} of {len(data.X):,} rows look like another row" if twins else ""
    advice = f"{lost[0].name}=text uses it" if are_text else f"{lost[0].name}=number, if it is one"
    doubt = (
        f"Most inputs were lost in reading: {len(lost)} of {len(used)} columns hold {hold} "
        f"({names}){same}. Say what they hold: --read {advice}"
    )
    return replace(data, doubts=(doubt, *data.doubts))


def _is_mere_name(reading: ColumnReading) -> bool:
    """Whether a column only names the rows: one that looks like amounts or has notes does not."""
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
    """Rows that share all features with another one, and not all that the table says of them."""
    told = {name: _merge_rare(X[name]) for name in X}
    features = _mark_repeated(pd.DataFrame(told))
    if features.mean() <= _MOST_ROWS:
        return 0
    columns = [reading.name for reading in used if reading.name in given]
    cells = _mark_repeated(given[columns].astype(str)) if columns else np.ones(len(X), bool)
    return int((features & ~cells).sum())


def _merge_rare(values: pd.Series) -> pd.Series:
    """What the preprocessing can tell apart: of rare words how frequent they are, at most."""
    if pd.api.types.is_numeric_dtype(values):
        return values
    counts = values.value_counts()
    frequent = counts[counts >= MIN_ROWS].index[:MAX_CATEGORIES]
    rare = values.map(counts).astype(str) if len(counts) > MAX_CATEGORIES else ""
    return values.astype(str).where(values.isin(frequent) | values.isna(), rare)


def _mark_repeated(table: pd.DataFrame) -> Array:
    rows = pd.util.hash_pandas_object(table, index=False)
    return np.asarray(rows.duplicated(keep=False))
