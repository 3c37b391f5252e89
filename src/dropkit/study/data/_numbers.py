"""Read numbers with currencies, separators, percent signs and units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from dropkit.study.data._cells import some_of
from dropkit.study.data._data import Array

_CODES = "USD EUR GBP CHF JPY CNY INR SEK NOK DKK PLN CZK HUF AUD CAD NZD BRL ZAR MXN TRY KRW SGD"
_CURRENCY = r"(?:US|CA|AU|NZ|HK|R|A|C)?\$|[€£¥₹₽₩₺₫₪฿]|Rs\.?|kr\.?|zł|Kč|Ft|" + "|".join(
    _CODES.split()
)
_UNIT = (
    rf"{_CURRENCY}|%|‰|/\s?\d{{1,4}}|°\s?[A-Za-z]?|"
    r"[A-Za-zµμΩ]{1,12}[²³\d]?(?:/[A-Za-zµ\d]{1,6}[²³]?)?\.?"
)
_NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<before>{_CURRENCY})?\s*(?P<sign2>[-+])?\s*"
    r"(?P<digits>\d[\d.,' ]*\d|\d[.,]?|[.,]\d+)(?P<exponent>[eE][-+]?\d{1,3})?"
    rf"(?:,-)?\s*(?P<after>{_UNIT})?\s*(?P<back>-)?\s*(?P<close>\))?"
)
_GROUPED = re.compile(r"\d{1,3}(?:[ ']\d{3})+(?=$|[.,])")
_ENGLISH, _CONTINENTAL = (
    re.compile(rf"\d{{1,3}}(?:\{mark}\d{{2,3}})*\{mark}\d{{3}}") for mark in ",."
)

# Units that convert to each other, with their factors: a column may mix units of one family.
_FAMILIES: tuple[dict[str, float], ...] = (
    {"ms": 1e-3}
    | dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0)
    | dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0)
    | dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0)
    | dict.fromkeys(("d", "day", "days"), 86400.0),
    {"mg": 1e-3, "g": 1.0, "kg": 1e3, "t": 1e6},
    {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3},
    {"ml": 1e-3, "cl": 1e-2, "l": 1.0},
    {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
)
_GROUPS = {".": ",", ",": "."}  # the mark between thousands, by the decimal mark
_LONGEST = 60  # characters of a number, including currency and unit
_SCALES = {"k": 1e3, "m": 1e6, "mio": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "mrd": 1e9}
_SURELY_FACTORS = {"k", "mio", "mn", "bn", "mrd"}


@dataclass(frozen=True)
class NumberReader:
    """Read numbers of one notation.

    Args:
        decimal: the decimal mark, ``.`` or ``,``; the other mark groups thousands.
        units: the units that may be written with a number, in lower case, and their factors.
        unit: the unit as written, if the column has only one.
        is_doubtful: whether no value shows which mark is the decimal mark.
    """

    decimal: str = "."
    units: dict[str, float] = field(default_factory=dict, hash=False)
    unit: str = ""
    is_doubtful: bool = False
    kind: ClassVar[str] = "number"

    @property
    def how(self) -> str:
        """The notation in words; empty for plain numbers."""
        notation = ["decimal comma"] if self.decimal == "," else []
        names = [unit for unit in self.units if unit]
        if self.unit:
            notation.append(f"in {self.unit}")
        elif names:
            notation.append(f"units {', '.join(names)}")
        return ", ".join(notation)

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return the value of each word, NaN for other notations, and a last NaN for missing."""
        values = np.full(len(words) + 1, np.nan)
        if self.decimal == "." and words:
            values[:-1] = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
        usual, groups = self._usual_form, _GROUPS[self.decimal]
        for i in np.flatnonzero(np.isnan(values[:-1])).tolist():
            word = words[i]
            if len(word) <= _LONGEST and (found := usual.fullmatch(word)):
                digits = found[found.lastindex or 0]
                values[i] = float(digits.replace(groups, "").replace(self.decimal, "."))
            else:
                values[i] = self._value(word)
        return {"": values}

    @cached_property
    def _usual_form(self) -> re.Pattern[str]:
        """Match the most common form of a number: reading it takes a quarter of `_value`'s time."""
        groups = _GROUPS[self.decimal]
        digits = rf"((?:\d{{1,3}}(?:\{groups}\d{{3}})+|\d+)(?:\{self.decimal}\d*)?)"
        if not self.unit or set(self.units.values()) != {1.0}:
            return re.compile(digits)
        unit = re.escape(self.unit)
        before = rf"{unit}\s*{digits}|" if _is_currency(self.unit) else ""
        return re.compile(rf"{before}{digits}(?:\s*{unit})?")

    def _value(self, word: str) -> float:
        if (found := _match(word)) is None:
            return np.nan
        factor = self.units.get(_unit(found))
        if factor is None and _unit(found):
            return np.nan
        number = _plain_digits(found["digits"], self.decimal)
        if number is None:
            return np.nan
        value = float(number + (found["exponent"] or "")) * (1.0 if factor is None else factor)
        minus = "-" in (found["sign"], found["sign2"], found["back"]) or bool(found["open"])
        return -value if minus else value


def find_notation(
    words: Sequence[str], *, hint: str = "", decimal: str = ""
) -> NumberReader | None:
    """Return the notation that reads most words, or ``None`` if hardly any word is a number.

    Args:
        words: distinct cells.
        hint: the decimal mark of the table's other columns, used if these numbers do not show it.
        decimal: the decimal mark given by the user.

    >>> find_notation(["$1,200.50", "($3.00)"]).features(["$1,200.50", "($3.00)"])[""]
    array([1200.5,   -3. ,     nan])
    """
    some = some_of(words)
    matched = [found for word in some if (found := _match(word))]
    if not matched or 2 * len(matched) < len(some):
        return None
    shown = Counter(mark for found in matched if (mark := _decimal(found["digits"])))
    doubtful = not shown and any({".", ","} & set(found["digits"]) for found in matched)
    if doubtful and len(some) < len(words):  # other words may show the decimal mark
        found_in = (_decimal(found["digits"]) for word in words if (found := _match(word)))
        shown = Counter(filter(None, found_in))
        doubtful = not shown
    mark = decimal or (shown.most_common(1)[0][0] if shown else hint or ".")
    factors = _factors(matched)
    units = {_unit(found): found["after"] or found["before"] for found in matched}
    named = [units[unit] for unit in factors if unit]
    return NumberReader(
        mark, factors, named[0] if len(named) == 1 else "", doubtful and not decimal and not hint
    )


def decimal_of(words: Sequence[str]) -> str:
    """Return the decimal mark that some words show, or an empty text.

    >>> decimal_of(["3", "1.200,50"]), decimal_of(["1,200"])
    (',', '')
    """
    matched = [found for word in words if (found := _match(word))]
    if 2 * len(matched) < len(words):
        return ""
    shown = Counter(mark for found in matched if (mark := _decimal(found["digits"])))
    return shown.most_common(1)[0][0] if shown else ""


def looks_like_number(word: str) -> bool:
    """Return whether a cell is a number in some notation."""
    found = _match(word)
    return found is not None and any(_plain_digits(found["digits"], mark) for mark in ".,")


def are_codes(words: Sequence[str]) -> str:
    """Return why words that look like numbers are codes, or an empty text.

    >>> are_codes(["02134", "10001"]), are_codes(["4e400", "123"]), are_codes(["0.5", "12"])
    ("leading zeros, as in '02134'", "'4e400' would be infinite", '')
    """
    zero = next((w for w in words if w[:1] == "0" and len(w) > 1 and w.isdigit()), None)
    if zero and all(map(str.isdigit, some_of(words))):
        return f"leading zeros, as in {zero!r}"
    long = next((w for w in words if len(w) > 15 and w.isdigit()), None)
    if long:
        return f"more digits than a number keeps, as in {long!r}"
    for word in words:
        if ("e" in word or "E" in word) and word[0].isdigit() and np.isinf(_float(word)):
            return f"{word!r} would be infinite"
    return ""


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return 0.0


def _match(word: str) -> re.Match[str] | None:
    if len(word) > _LONGEST or not any(map(str.isdigit, word)):
        return None
    found = _NUMBER.fullmatch(word)
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    return None if found["before"] and _is_currency(found["after"]) else found


def _is_currency(unit: str | None) -> bool:
    return unit is not None and re.fullmatch(_CURRENCY, unit) is not None


def _unit(found: re.Match[str]) -> str:
    return (found["after"] or found["before"] or "").rstrip(".").lower().replace(" ", "")


def _factors(matched: list[re.Match[str]]) -> dict[str, float]:
    """Return the units of a column with their factors: one unit, or several of one family."""
    units = Counter(map(_unit, matched))
    named = [unit for unit, _ in units.most_common() if unit]
    currencies = {_unit(found) for found in matched if found["before"] and not found["after"]}
    suffixes = [unit for unit in named if unit not in currencies]
    # k and M are factors, not units, after an amount of money or if other numbers lack them.
    money = bool(suffixes) and any(found["before"] and found["after"] for found in matched)
    scale = money or len(suffixes) > 1 or (units[""] and set(suffixes) & _SURELY_FACTORS)
    if scale and len(currencies) < 2 and set(suffixes) <= set(_SCALES):
        return {"": 1.0, **dict.fromkeys(currencies, 1.0), **{u: _SCALES[u] for u in suffixes}}
    if len(named) < 2:
        return dict.fromkeys(named, 1.0)
    family = next((f for f in _FAMILIES if set(named) <= set(f)), None)
    if family is not None:
        return {unit: family[unit] for unit in named}
    return {named[0]: 1.0} if units[named[0]] > 0.5 * units.total() else {}


def _decimal(digits: str) -> str:
    """Return the decimal mark that the digits of a number show, or an empty text."""
    if _GROUPED.match(digits):
        digits = digits.replace(" ", "").replace("'", "")
    dots, commas = digits.count("."), digits.count(",")
    if dots and commas:
        return "." if digits.rindex(".") > digits.rindex(",") else ","
    if dots > 1 or commas > 1:
        return "," if dots else "."
    if not dots and not commas:
        return ""
    mark = "." if dots else ","
    before, _, after = digits.partition(mark)
    is_open = len(after) == 3 and 1 <= len(before) <= 3 and before[0] != "0"
    return "" if is_open else mark


def _plain_digits(digits: str, decimal: str) -> str | None:
    """Return the digits in Python's notation, or ``None`` if a separator is misplaced."""
    if " " in digits or "'" in digits:
        if not _GROUPED.match(digits):
            return None
        digits = digits.replace(" ", "").replace("'", "")
        if " " in digits or "'" in digits:
            return None
    whole, mark, fraction = digits.partition(decimal)
    groups = _GROUPS[decimal]
    if groups in fraction or decimal in fraction:
        return None
    if groups in whole:
        grouped = (_ENGLISH if groups == "," else _CONTINENTAL).fullmatch(whole)
        if not grouped:
            return None
        whole = whole.replace(groups, "")
    return (whole or "0") + ("." + fraction if mark else "")
