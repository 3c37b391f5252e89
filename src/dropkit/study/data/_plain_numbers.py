"""Decide whether plain numbers are measurements, codes or times."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from dropkit.study.data._categories import CategoryReader
from dropkit.study.data._cells import plain
from dropkit.study.data._choices import MANY, NEARLY_ALL, Choice
from dropkit.study.data._data import Array
from dropkit.study.data._dates import DateReader
from dropkit.study.data._numbers import NumberReader, are_codes

# If one of these words is in a column's name, its integers are codes.
_CODES = {
    *("id", "ids", "uuid", "guid", "code", "codes", "sku", "ean", "upc", "isbn", "iban", "barcode"),
    *("zip", "zipcode", "postcode", "postal", "plz", "postleitzahl", "ssn"),
    *("phone", "telephone", "tel", "fax"),
}
_COUNTED = {
    "no",
    "nr",
    "num",
    "number",
    "key",
}  # these mark codes only as the last word, and if nearly all numbers differ
_TIMES = {
    *("time", "timestamp", "ts", "date", "day", "when", "epoch", "unix", "utc"),
    *("created", "updated"),
}
_SENTINELS = (-99, -999, -9999, -99999, 999, 9999, 99999, 999999)


def choose_for_numbers(name: str, values: Array, words: Iterable[str] | None) -> Choice | None:
    """Choose a reader for plain numbers.

    Args:
        name: the name of the column.
        values: the numbers, with NaN for missing.
        words: the texts that the numbers were read from; ``None`` for a column of numbers.

    Returns:
        The choice, or ``None`` if the notation of the words must decide.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return Choice(None, "empty")
    with np.errstate(invalid="ignore"):
        whole = bool((present == np.round(present)).all())
    if whole and words is not None and are_codes(list(words)):
        return None
    low, high = float(present.min()), float(present.max())
    if low == high and len(present) == len(values):
        return Choice(None, "constant")
    if np.isfinite(values).all() and len(values) >= 10 and bool((np.diff(values) == 1.0).all()):
        return Choice(None, "row number")  # in a sorted file, the row number reveals the class
    if not whole:
        return Choice(NumberReader(), notes=doubt_sentinel(name, present))
    tokens = name_tokens(name)
    is_code, is_counted = (
        bool(_CODES.intersection(tokens)),
        bool(_COUNTED.intersection(tokens[-1:])),
    )
    if low >= 0 and (is_code or is_counted):
        distinct = len(np.unique(present))
        if distinct > NEARLY_ALL * len(present) and distinct > MANY:
            return Choice(None, "identifier")
    if low >= 0 and is_code:
        why = "whole numbers that are codes, by the column's name"
        note = (
            f"column {name!r} is read as categories because of its name; --read {name}=number "
            "changes it"
        )
        return Choice(CategoryReader(why), notes=(note,))
    if epoch := _epoch(low, high, tokens):
        return Choice(DateReader(epoch=epoch))
    if low >= 19000101 and high <= 21001231 and len(present) > 2:
        distinct_words = [plain(value) for value in np.unique(present)]
        if np.isfinite(DateReader().features(distinct_words)["days"][:-1]).all():
            return Choice(DateReader())
    return Choice(NumberReader(), notes=doubt_sentinel(name, present))


def name_tokens(name: str) -> list[str]:
    """Split a column's name into words, in lower case.

    >>> name_tokens("customerID"), name_tokens("zip_code")
    (['customer', 'id'], ['zip', 'code'])
    """
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-zäöüß]+|\d+", name)]


def _epoch(low: float, high: float, tokens: list[str]) -> float:
    """Return the seconds per unit of numbers that count time since 1970, or 0 for others."""
    for unit in (1.0, 1e-3, 1e-6, 1e-9):
        if _TIMES.intersection(tokens) and low * unit >= 3e8 and high * unit <= 4e9:
            return unit
    return 0.0


def doubt_sentinel(name: str, present: Array, what: str = "") -> tuple[str, ...]:
    """Return a note if a typical missing-value number, such as -999, is far from all others.

    ``what`` describes the numbers in the note, such as "the year ", if they are not cells.
    """
    for value in _SENTINELS:
        count = int((present == value).sum())
        others = present[present != value]
        if count < 2 or len(others) < MANY:
            continue
        low, high = float(others.min()), float(others.max())
        gap = low - value if value < low else value - high
        if gap > high - low:
            return (
                f"column {name!r} holds {what}{plain(value)} in {count} rows, far from its other "
                f"values ({plain(low)} to {plain(high)}): empty these cells if it means missing",
            )
    return ()
