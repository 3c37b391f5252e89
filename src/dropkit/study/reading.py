"""How a column of a table was read: plain values for notes, inspection and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dropkit.errors import StudyError
from dropkit.text import nearest

KINDS = {
    "number": "numbers, in whatever notation; cells that hold none count as missing",
    "decimal-comma": "numbers with a decimal comma: 1,234 is one and a bit",
    "decimal-point": "numbers with a decimal point: 1,234 is a thousand and more",
    "boolean": "yes and no, in words",
    "category": "categories: one value is as far from another as from any",
    "date": "points in time",
    "day-first": "points in time, the day written before the month",
    "month-first": "points in time, the month written before the day",
    "time": "times of day",
    "duration": "lengths of time",
    "list": "several categories in one cell",
    "text": "free text, whose words are hashed into 64 features",
    "drop": "nothing: the column is left out",
}
"""The kinds that a user may ask for, and what each takes a column to hold."""

READINGS = "dropkit_readings"
"""The attribute of a saved table that says from which columns its features were made."""

KEYS = "dropkit_keys"
"""The attribute of a saved table that names those of its columns that are no features."""


def parse_kinds(told: str | Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Return the kinds that a user gives some columns, by their names.

    Args:
        told: ``column=kind`` once or several times, or the pairs themselves. A comma separates
            two, and may also stand in a name.

    Raises:
        StudyError: there is no such kind.

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
    """What a column of a table was taken to hold, and what became of it.

    Args:
        name: the column.
        kind: ``number``, ``boolean``, ``category``, ``date``, ``time``, ``duration``, ``list`` or
            ``text``; of a column that is left out ``constant``, ``duplicate``, ``empty``,
            ``identifier``, ``row number``, ``text``, ``group`` or ``drop``.
        how: the notation or the reason, in words; empty if there is nothing to say.
        becomes: the features that are made of it; none if it is left out.
        examples: some of its cells, as they stand in the table.
        lowest, highest: the ends of numbers and times; empty for others.
        rows: how many rows the table has.
        missing: how many of them hold nothing here.
        missing_words: the words among them, such as ``n/a``.
        distinct: how many different values there are.
        notes: what is surprising about it, with the option that changes it.
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
        """Whether no feature is made of it."""
        return not self.becomes
