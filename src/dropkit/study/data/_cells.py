"""Represent a column of text by its distinct words, so that each is cleaned and read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array

# Both sets are compared in lower case. Words of MISSING are always missing values. Words of
# PERHAPS_MISSING may be values: they remain categories if they are frequent, and always remain
# classes.
MISSING = frozenset({"", "?", "n/a", "#n/a", "nan", "-nan", "null", "<na>"})
PERHAPS_MISSING = frozenset(
    {
        *("none", "na", "nil", "-", "--", "---", ".", "..", "…", "unknown", "missing"),
        *("not available", "not known", "not applicable", "k.a.", "k. a.", "s/d", "#value!"),
    }
)

_LONGEST = max(map(len, PERHAPS_MISSING))

# A word in at least this share of the cells, and this number of rows, is not a missing value.
_FREQUENT, _FREQUENT_ROWS = 0.05, 5

_SAME = str.maketrans(
    {"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "＄": "$"}
)


class WordReader(Protocol):
    """The interface of a reader: it turns words into features."""

    def features(self, words: Sequence[str], /) -> dict[str, Array]:
        """Return arrays of features by name, or by ``""`` for a feature named like its column.

        An array has one value per word, and at the end the value for a missing cell.
        """


@dataclass(frozen=True, eq=False)
class Cells:
    """The distinct words of a column, stripped, and the index of each row's word.

    Rows without a value have index -1, which selects the last value of a reader's array: the value
    for a missing cell.
    """

    words: tuple[str, ...]
    index: Array
    dropped: tuple[str, ...] = ()  # words that count as missing
    _read: dict[WordReader, dict[str, Array]] = field(default_factory=dict)

    def read(self, reader: WordReader) -> dict[str, Array]:
        """Return the features that the reader makes from the words; cached after the first call."""
        if reader not in self._read:
            self._read[reader] = reader.features(self.words)
        return self._read[reader]

    @property
    def counts(self) -> Array:
        """The number of rows with each word."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.words))

    @property
    def present(self) -> int:
        """The number of rows with a value."""
        return int((self.index >= 0).sum())

    def row(self, word: int) -> int:
        """Return the first row with a word, counted from 1."""
        return int((self.index == word).argmax()) + 1

    def rows(self, words: Array) -> int:
        """Return the number of rows with a word that the mask selects."""
        return int(self.counts[words].sum())

    def without(self, words: Iterable[int]) -> Cells:
        """Return the cells with some words treated as missing."""
        gone = set(words)
        if not gone:
            return self
        kept = [i for i in range(len(self.words)) if i not in gone]
        new = np.full(len(self.words) + 1, -1)
        new[kept] = np.arange(len(kept))
        dropped = tuple(self.words[i] for i in sorted(gone))
        return Cells(tuple(self.words[i] for i in kept), new[self.index], (*self.dropped, *dropped))

    def without_rare_gaps(self) -> Cells:
        """Treat words that may mean missing as missing, unless they are frequent."""
        counts, rows = self.counts, self.present
        enough = max(_FREQUENT_ROWS, _FREQUENT * rows)
        return self.without(
            i for i, w in enumerate(self.words) if _may_mean_missing(w) and counts[i] < enough
        )

    def without_gaps(self) -> Cells:
        """Treat all words that may mean missing as missing, as in a column of numbers."""
        return self.without(i for i, w in enumerate(self.words) if _may_mean_missing(w))


def _may_mean_missing(word: str) -> bool:
    return len(word) <= _LONGEST and word.lower() in PERHAPS_MISSING


def some_of(words: Sequence[str]) -> Sequence[str]:
    """Return about a thousand evenly spaced words, or all if there are fewer."""
    return words[:: -(-len(words) // 1000)] if words else words


def read_cells(values: pd.Series) -> Cells:
    """Clean the text of a column; pandas categories are not cleaned."""
    as_it_is = isinstance(values.dtype, pd.CategoricalDtype)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        values = values.map({v: plain(v) for v in values.dropna().unique()}).astype(object)
    index, found = pd.factorize(values.astype(str).where(values.notna()).to_numpy(object))
    clean = [(w if w.isascii() else w.translate(_SAME)).strip() for w in map(str, found)]
    gone = [word.lower() in MISSING and not as_it_is for word in clean]
    merged, words = pd.factorize(
        np.array([None if g else w for g, w in zip(gone, clean, strict=True)] or [None], object)
    )
    dropped = dict.fromkeys(w for g, w in zip(gone, clean, strict=True) if g and w)
    return Cells(tuple(words), np.append(merged[: len(clean)], -1)[index], tuple(dropped))


def plain_numbers(values: pd.Series) -> Array | None:
    """Return the column as floats with NaN for missing, or ``None`` if a cell is not a number."""
    types: Any = pd.api.types
    if types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return None
    if types.is_complex_dtype(values) or is_date(values):
        return None
    if types.is_numeric_dtype(values):
        return np.asarray(values.to_numpy(np.float64, na_value=np.nan))
    for part in (values.iloc[:100], values):  # try some rows first: they identify most text columns
        text = part.to_numpy(object)
        numbers = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64)
        # A NaN may be a word that could not be converted, so look at the original values.
        others = text[np.isnan(numbers)]
        if not all(v is None or v is pd.NA or _is_gap(v) for v in others):
            return None
    if any(isinstance(value, bool) for value in values.iloc[:1000]):
        return None
    return np.asarray(numbers)


def _is_gap(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    return bool(pd.isna(value)) if np.isscalar(value) else False


def is_date(values: pd.Series) -> bool:
    """Return whether the column has a pandas type for dates or durations."""
    types = pd.api.types
    return bool(types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values))


def plain(number: float) -> str:
    """Format a number without a trailing ``.0``.

    >>> plain(3.0), plain(0.1)
    ('3', '0.1')
    """
    return repr(float(number)).removesuffix(".0")
