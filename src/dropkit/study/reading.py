"""Describe how a column of a table was read, in plain values for notes and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dropkit.errors import StudyError
from dropkit.text import nearest

KINDS = {
    "number": "numbers in any notation; cells without a number count as missing",
    "decimal-comma": "numbers with a decimal comma: 1,234 is 1.234",
    "decimal-point": "numbers with a decimal point: 1,234 is 1234",
    "boolean": "yes or no, in words",
    "category": "categories without an order",
    "date": "points in time",
    "day-first": "points in time, the day written before the month",
    "month-first": "points in time, the month written before the day",
    "time": "times of day",
    "duration": "lengths of time",
    "list": "several categories in one cell",
    "text": "free text; its words are hashed into 64 features",
    "drop": "nothing: the column is left out",
}
"""The kinds that a user may give to a column, with their meanings."""

READINGS = "dropkit_readings"
"""The attribute of a saved table that holds the source columns of its features."""

KEYS = "dropkit_keys"
"""The attribute of a saved table that lists the columns that are not features."""


def parse_kinds(told: str | Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Parse the kinds that a user gives to columns, by column name.

    Args:
        told: ``column=kind`` pairs, as one text separated by commas, as several texts, or as a
            mapping. A column name may contain a comma.

    Raises:
        StudyError: a kind does not exist, or a text is not of the form ``column=kind``.

    >>> parse_kinds("zip=category,price, net=decimal-comma")
    {'zip': 'category', 'price, net': 'decimal-comma'}
    """
    if isinstance(told, Mapping):
        pairs = list(told.items())
    else:
        pieces = told.split(",") if isinstance(told, str) else told
        pairs, begun = [], ""
        for piece in pieces:
            name, equals, kind = (begun + piece).rpartition("=")
            begun = "" if equals else f"{begun}{piece},"
            if equals:
                pairs.append((name, kind.strip()))
        if begun.strip(" ,"):
            raise StudyError(
                "read must give columns a kind, as in zip=category,price=number; got "
                f"{begun[:-1]!r}"
            )
    for name, kind in pairs:
        if kind not in KINDS:
            raise StudyError(f"column {name!r} cannot be read as {kind!r}: {nearest(kind, KINDS)}")
    return dict(pairs)


@dataclass(frozen=True, kw_only=True)
class ColumnReading:
    """How a column of a table was read, and which features it became.

    Args:
        name: the column.
        kind: ``number``, ``boolean``, ``category``, ``date``, ``time``, ``duration``, ``list`` or
            ``text``. For a column that is left out: ``constant``, ``duplicate``, ``empty``,
            ``identifier``, ``row number``, ``text``, ``group`` or ``drop``.
        how: the notation, or the reason for the kind, in words; may be empty.
        becomes: the names of its features; empty if the column is left out.
        examples: some cells as written in the table.
        lowest: the lowest number or time; empty for other kinds.
        highest: the highest number or time; empty for other kinds.
        rows: number of rows of the table.
        missing: number of rows with a missing value in this column.
        missing_words: the words that count as missing, such as ``n/a``.
        distinct: number of different values.
        notes: one line for each surprise, with the option that changes it.
    """

    name: str
    kind: str
    how: str = ""
    becomes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    lowest: str = ""
    highest: str = ""
    rows: int = 0
    missing: int = 0
    missing_words: tuple[str, ...] = ()
    distinct: int = 0
    notes: tuple[str, ...] = ()

    @property
    def is_left_out(self) -> bool:
        """Whether the column becomes no feature."""
        return not self.becomes
