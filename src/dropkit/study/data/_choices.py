"""Define the choice made for a column: its reader, or the reason to leave it out."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as shown  # shows at most 30 characters of a cell
from typing import TypeAlias

import numpy as np

from dropkit.study.data._categories import BooleanReader, CategoryReader, ListReader
from dropkit.study.data._cells import Cells
from dropkit.study.data._data import Array
from dropkit.study.data._dates import DateReader, DurationReader, TimeReader
from dropkit.study.data._numbers import NumberReader
from dropkit.study.data._words import TextReader

Reader: TypeAlias = (
    NumberReader | BooleanReader | CategoryReader | ListReader | TextReader | DateReader
    | TimeReader | DurationReader
)  # fmt: skip

# Cells that a reader cannot read count as missing if their share of the column is at most this.
MOST_STRAY = 0.05

# The largest number of distinct values that may be a small set of categories.
MANY = 20

# A column with a larger share of distinct values may be an identifier of its rows.
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Choice:
    """The reader of a column or the reason to leave it out, with explanations for the user."""

    reader: Reader | None
    left_out: str = ""
    how: str = ""
    notes: tuple[str, ...] = ()


def unread_words(reader: Reader, cells: Cells) -> Array:
    """Return a mask of the words that the reader cannot read."""
    first = next(iter(cells.read(reader).values()))[:-1]
    if first.dtype == object:
        return np.zeros(len(cells.words), bool)
    return np.isnan(first)


def describe_unread(cells: Cells, unread: Array) -> str:
    """Describe the first word that cannot be read, its row, and the number of others."""
    first = min(map(int, np.flatnonzero(unread)), key=cells.row)
    more = cells.rows(unread) - 1
    others = f", and {more} more" if more else ""
    return f"{shown(cells.words[first])} in row {cells.row(first)}{others}"
