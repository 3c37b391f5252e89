"""A column of text: its distinct words, each cleaned and read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array

# Both are compared in lower case. The first are never meant as a value; the second may be: they
# stay categories where they are frequent, and classes always.
MISSING = frozenset({"", "?", "n/a", "#n/a", "nan", "-nan", "null", "<na>"})
PERHAPS_MISSING = frozenset(
    {
        *("none", "na", "nil", "-", "--", "---", ".", "..", "…", "unknown", "missing"),
        *("not available", "not known", "not applicable", "k.a.", "k. a.", "s/d", "#value!"),
    }
)

_LONGEST = max(map(len, PERHAPS_MISSING))

# A word in so many of the cells, and rows, is a category and not a gap.
_FREQUENT, _FREQUENT_ROWS = 0.05, 5

_SAME = str.maketrans(
    {"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "＄": "$"}
)


class WordReader(Protocol):
    """What makes features of words: arrays with a value for every word, and one for none."""

    def features(self, words: Sequence[str], /) -> dict[str, Array]:
        """The features by their names, empty for one that is called as its column is."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The distinct words of a column, stripped, and the index of each row's word.

    Rows that hold nothing have index -1, which finds the last of an array's values: those of a
    reader have one more than there are words.
    """

    words: tuple[str, ...]
    index: Array
    dropped: tuple[str, ...] = ()  # words that count as missing
    _read: dict[WordReader, dict[str, Array]] = field(default_factory=dict)

    def read(self, reader: WordReader) -> dict[str, Array]:
        """What the reader makes of the words; it reads them once."""
        if reader not in self._read:
            self._read[reader] = reader.features(self.words)
        return self._read[reader]

    @property
    def counts(self) -> Array:
        """How many rows hold each word."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.words))

    @property
    def present(self) -> int:
        """How many rows hold a word."""
        return int((self.index >= 0).sum())

    def row(self, word: int) -> int:
        """The first row that holds a word, counted from 1 as people do."""
        return int((self.index == word).argmax()) + 1

    def rows(self, words: Array) -> int:
        """How many rows hold one of the words of a mask."""
        return int(self.counts[words].sum())

    def without(self, words: Iterable[int]) -> Cells:
        """The same cells with some words counted as missing."""
        gone = set(words)
        if not gone:
            return self
        kept = [i for i in range(len(self.words)) if i not in gone]
        new = np.full(len(self.words) + 1, -1)
        new[kept] = np.arange(len(kept))
        dropped = tuple(self.words[i] for i in sorted(gone))
        return Cells(tuple(self.words[i] for i in kept), new[self.index], (*self.dropped, *dropped))

    def without_rare_gaps(self) -> Cells:
        """The cells with those words as missing that may mean it and are not frequent."""
        counts, rows = self.counts, self.present
        enough = max(_FREQUENT_ROWS, _FREQUENT * rows)
        return self.without(
            i for i, w in enumerate(self.words) if _may_mean_missing(w) and counts[i] < enough
        )

    def without_gaps(self) -> Cells:
        """The cells with all words as missing that may mean it, as among numbers."""
        return self.without(i for i, w in enumerate(self.words) if _may_mean_missing(w))


def _may_mean_missing(word: str) -> bool:
    return len(word) <= _LONGEST and word.lower() in PERHAPS_MISSING


def some_of(words: Sequence[str]) -> Sequence[str]:
    """A thousand of the words, from the first to the last, or all if they are fewer."""
    return words[:: -(-len(words) // 1000)] if words else words


def read_cells(values: pd.Series) -> Cells:
    """Clean a column's text; what comes as categories is taken as it is."""
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
    """The column as floats with NaN for gaps, or ``None`` if a cell holds anything else."""
    types: Any = pd.api.types
    if types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
        return None
    if types.is_complex_dtype(values) or is_date(values):
        return None
    if types.is_numeric_dtype(values):
        return np.asarray(values.to_numpy(np.float64, na_value=np.nan))
    for part in (values.iloc[:100], values):  # a look at some first: most text is told by it
        text = part.to_numpy(object)
        numbers = pd.to_numeric(pd.Series(text), errors="coerce").to_numpy(np.float64)
        # NaN is never a number here, but it must not hide a word.
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
    """Whether the column holds points in time or durations."""
    types = pd.api.types
    return bool(types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values))


def plain(number: float) -> str:
    """A number as people write it.

    >>> plain(3.0), plain(0.1)
    ('3', '0.1')
    """
    return repr(float(number)).removesuffix(".0")
