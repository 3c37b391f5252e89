"""Columns of a table: which are numbers, which are categories, which cannot help."""

from __future__ import annotations

import re
from collections.abc import Sequence
from reprlib import repr as shown  # no more than 30 characters of a cell
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from dropkit.errors import DataError
from dropkit.study.data._preprocess import MAX_CATEGORIES, MIN_ROWS
from dropkit.study.data._text import MISSING, WITH_COMMA
from dropkit.text import nearest

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}([/.])\d{1,2}\2(\d{4}|\d{2})([T ].*)?")
_TRUTH = {"true": 1.0, "false": 0.0}
_DATES = "dates (turn them into numbers, such as the year or days since a start, to use them)"
_DIFFERS = "text that differs in every row"
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")

# Squares of features, and their sums, stay finite in float64.
LARGEST = 1e100

# Text in a larger share of a column's rows makes it a column of text.
_MOST_STRAY = 0.05

# More distinct values are no small set of categories.
_MANY = 20


def features(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Turn every column into float64 or text, and drop those that cannot help.

    Dropped are constants, numbers that only count the rows, dates, and text that differs in
    every row. Text that is a number in nearly every row is taken as numbers, the rest as missing.
    A note tells of text that may be meant as numbers, or whose values are nearly all rare.

    Returns:
        The new table and a note for each kind of change.

    Raises:
        DataError: a feature is infinite, or no feature is left.
    """
    kept: dict[str, Any] = {}
    dropped: dict[str, list[str]] = {}
    notes = []
    for name in frame:
        values = tidy(frame[name])
        named = isinstance(frame[name].dtype, pd.CategoricalDtype)
        if values.dtype == object and not named:
            numbers, stray = _parsed(values)
            few = len(stray) <= _MOST_STRAY * values.notna().sum() and numbers.nunique() > _MANY
            if few and len(stray):
                notes.append(_taken_as_missing(f"column {name!r}", values, stray))
            if few or not len(stray):
                values = numbers
        reason = _useless(values)
        if values.dtype == object and not named and reason in (None, _DIFFERS):
            notes += [f"column {name!r} {doubt}" for doubt in _doubts(values)]
        if reason:
            dropped.setdefault(reason, []).append(str(name))
        else:
            kept[str(name)] = _checked(str(name), values)
    notes += [f"dropped {reason}: {_listed(names)}" for reason, names in dropped.items()]
    if not kept:
        raise DataError("no feature is left to learn from: " + "; ".join(notes))
    return pd.DataFrame(kept), tuple(notes)


def features_like(frame: pd.DataFrame, train: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Bring the table of a test set to the columns and kinds of the training table."""
    kept: dict[str, Any] = {}
    notes = []
    for name in train:
        if name not in frame:
            raise DataError(f"the test set has no column {name!r}: {nearest(name, frame.columns)}")
        values = tidy(frame[name])
        if types.is_numeric_dtype(train[name]):
            numbers, stray = _parsed(values)
            if len(stray) > _MOST_STRAY * values.notna().sum():
                raise DataError(
                    f"test column {name!r} must hold numbers, as in the training rows, got text in "
                    f"{len(stray)} of {len(values)} rows, first in row {stray[0] + 1} "
                    f"({shown(values.iloc[stray[0]])}); correct these cells or empty them"
                )
            if len(stray):
                notes.append(_taken_as_missing(f"test column {name!r}", values, stray))
            values = numbers
        elif types.is_numeric_dtype(values):
            values = values.map(plain, na_action="ignore").astype(object)
        kept[name] = _checked(name, values)
    return pd.DataFrame(kept), tuple(notes)


def tidy(values: pd.Series) -> pd.Series:
    """One column as float64, as dates, or as stripped text with NaN.

    What comes as categories stays text, even if it looks like a number or like a missing value.
    """
    if is_date(values):
        return values
    if types.is_bool_dtype(values):
        values = values.astype(object)
    if types.is_numeric_dtype(values) and not types.is_complex_dtype(values):
        return pd.Series(values.to_numpy(np.float64, na_value=np.nan), index=values.index)
    # Distinct values are few in most columns: the text is cleaned once for each of them.
    codes, distinct = pd.factorize(values.astype(str).where(values.notna()))
    words = [str(value).strip() for value in distinct]
    named = isinstance(values.dtype, pd.CategoricalDtype)
    clean = [np.nan if w.lower() in MISSING and not named else w for w in words]
    text = pd.Series(np.array([*clean, np.nan], object)[codes], index=values.index, dtype=object)
    if named:
        return text
    numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
    return numbers if bool((numbers.notna() | text.isna()).all()) else text


def is_date(values: pd.Series) -> bool:
    """Whether the column holds points in time or durations."""
    return bool(types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values))


def plain(number: float) -> str:
    """A number as people write it.

    >>> plain(3.0), plain(0.1)
    ('3', '0.1')
    """
    return repr(float(number)).removesuffix(".0")


def first_infinite(values: pd.Series) -> int | None:
    """Position of the first infinite number, or ``None``."""
    found = np.flatnonzero(np.isinf(values.to_numpy(np.float64)))
    return int(found[0]) if len(found) else None


def _checked(name: str, values: pd.Series) -> Any:
    if types.is_numeric_dtype(values) and (row := first_infinite(values)) is not None:
        raise DataError(
            f"column {name!r} is infinite in row {row + 1}; features must be finite or missing"
        )
    if types.is_numeric_dtype(values) and (largest := values.abs().max()) > LARGEST:
        raise DataError(
            f"column {name!r} must not exceed {LARGEST:g} in size, got {largest:g}; if that stands "
            "for a missing value, leave the cell empty"
        )
    # The type is given, for pandas may have another one for text.
    return pd.Series(values.to_numpy(), dtype=values.dtype)


def _parsed(values: pd.Series) -> tuple[pd.Series, Any]:
    """The column as numbers, truth values as 1 and 0, and the rows whose text is neither."""
    words = values.map(lambda v: _TRUTH.get(v.lower(), v) if isinstance(v, str) else v)
    numbers = pd.to_numeric(words, errors="coerce").astype(np.float64)
    return numbers, np.flatnonzero(numbers.isna() & values.notna())


def _taken_as_missing(column: str, values: pd.Series, stray: Any) -> str:
    return (
        f"{column} holds text among its numbers in {len(stray)} rows, first in row "
        f"{stray[0] + 1} ({values.iloc[stray[0]]!r}): taken as missing"
    )


def _useless(values: pd.Series) -> str | None:
    """Why a column cannot help a model to learn, or ``None``."""
    if is_date(values):
        return _DATES
    present = values.dropna()
    distinct = present.nunique()
    if distinct == 0:
        return "columns without any value"
    if distinct == 1 and len(present) == len(values):
        return "constant columns"
    if types.is_numeric_dtype(values):
        # A row number tells the class of a sorted file.
        counts = len(values) >= 10 and bool((values.diff().iloc[1:] == 1.0).all())
        return "columns that count the rows" if counts else None
    if all(_DATE.fullmatch(value) for value in present.unique()):
        return _DATES
    if distinct == len(present) and distinct > 2:
        return _DIFFERS
    return None


def commas(words: Sequence[str]) -> str | None:
    """What to say of words of which most are numbers with commas, or ``None``.

    >>> commas(["1,010", "2,500"])
    "looks like numbers with thousands separators: write '1,010' as 1010"
    >>> commas(["0,5", "2,500"])
    "looks like numbers with decimal commas: write '0,5' as 0.5"
    """
    found = [w for w in words if _THOUSANDS.fullmatch(w) or re.fullmatch(WITH_COMMA, w)]
    if 2 * len(found) <= len(words):
        return None
    kind, point = "decimal commas", "."
    if all(map(_THOUSANDS.fullmatch, found)):
        kind, point = "thousands separators", ""
    return f"looks like numbers with {kind}: write {found[0]!r} as {found[0].replace(',', point)}"


def _doubts(values: pd.Series) -> list[str]:
    """What a column of text may be meant as instead, or that it has hardly a frequent value."""
    counts = values.value_counts()
    if len(counts) <= _MANY:
        return []
    rows = counts.sum()
    numeric = pd.to_numeric(pd.Series(counts.index), errors="coerce").notna().to_numpy()
    words = counts.index[~numeric]
    if hint := commas(words):
        return [f"{hint} (taken as text)"]
    share = counts[numeric].sum() / rows
    if share > 0.5 and numeric.sum() > _MANY:
        others = " and others" if len(words) > 1 else ""
        return [
            f"holds numbers in {100 * share:.0f} % of its cells, taken as categories because of "
            f"{shown(words[0])}{others} in {100 * (1 - share):.0f} %; empty those cells to have "
            "numbers"
        ]
    rare = 1 - counts[counts >= MIN_ROWS][:MAX_CATEGORIES].sum() / rows
    if rare > 0.9 and len(counts) < rows:
        return [
            f"holds values too rare for a column of their own in {100 * rare:.0f} % of its cells, "
            f"such as {shown(counts.index[-1])}; they share one"
        ]
    return []


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
