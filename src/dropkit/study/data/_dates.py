"""Read dates, times of day and durations, and turn them into features."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from dropkit.study.data._cells import some_of
from dropkit.study.data._data import Array

_CLOCK = (
    r"(?:(?:[T,]|\s|\sat\s)\s*(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:[.,]\d+)?))?"
    r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?(?:\s?\([A-Z]+\))?)?"
)
_WEEKDAY = r"(?:[^\W\d]{2,10}\.?,?\s+)?"
_DAY_OF = r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.)?"
_MONTH = r"(?P<mon>[^\W\d]{3,9})\.?"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<y>\d{4})([-/.])(?P<m>\d{1,2})\2(?P<d>\d{1,2})" + _CLOCK,
        r"(?P<a>\d{1,2})([-/.])(?P<b>\d{1,2})\2(?P<y>\d{4}|\d{2})" + _CLOCK,
        _WEEKDAY + _DAY_OF + rf"[\s-]+{_MONTH},?[\s-]+(?P<y>\d{{4}}|\d{{2}})" + _CLOCK,
        _WEEKDAY + rf"{_MONTH}\s+{_DAY_OF},?\s+(?P<y>\d{{4}})" + _CLOCK,
        r"(?P<y>(?:19|20)\d{2})(?P<m>\d{2})(?P<d>\d{2})"
        r"(?:[T ]?(?P<h>\d{2})(?P<min>\d{2})(?P<s>\d{2}))?Z?",
        r"(?P<y>(?:19|20)\d{2})[-/](?P<m>\d{1,2})",
        r"(?P<m>\d{1,2})[-/.](?P<y>(?:19|20)\d{2})",
        rf"{_MONTH}[\s-]+(?P<y>(?:19|20)\d{{2}})",
    )
)  # fmt: skip
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan", "feb fev fév", "mar mär mrz", "apr avr", "may mai", "jun jui", "jul", "aug aou aoû",
         "sep", "oct okt", "nov", "dec dez déc"), start=1)
    for name in names.split()
}  # fmt: skip
_TIME = re.compile(
    r"(?P<h>\d{1,2}):(?P<min>\d{2})(?::(?P<s>\d{2}(?:\.\d+)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
)
_SPAN = re.compile(r"(?:(?P<d>\d+) days?,? )?(?P<h>\d+):(?P<min>\d{2})(?::(?P<s>\d{2}(?:\.\d+)?))?")
_PARTS = re.compile(
    r"P?(?:(?P<d>\d+)\s*(?:days?|d|Tage?)\s*)?T?(?:(?P<h>\d+(?:\.\d+)?)\s*(?:hours?|hrs?|h|Std\.?)\s*)?"
    r"(?:(?P<min>\d+)\s*(?:minutes?|mins?|m|min\.)\s*)?(?:(?P<s>\d+(?:\.\d+)?)\s*(?:seconds?|secs?|s))?",
    re.IGNORECASE,
)
_DAY = 86400.0
_END = 9000 * 365 * _DAY  # later dates count as missing


@dataclass(frozen=True)
class DateReader:
    """Read dates, with or without a time.

    Args:
        order: which comes first in a date such as 1/2/2024, ``day`` or ``month``.
        features_of: the names of the features that vary in the training table.
        epoch: seconds per unit if cells are numbers that count time since 1970, otherwise 0.
        is_doubtful: whether no value shows the order of day and month.
    """

    order: str = "day"
    features_of: tuple[str, ...] = ()
    epoch: float = 0.0
    is_doubtful: bool = False
    kind: ClassVar[str] = "date"

    @property
    def how(self) -> str:
        """The features that a date becomes, in words."""
        return ", ".join(dict.fromkeys(name.partition(" ")[0] for name in self.features_of))

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return days since 1970, the year, and sine and cosine of month, weekday and hour."""
        if self.epoch:
            numbers = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce")
            return self.turn(numbers.to_numpy(np.float64) * self.epoch)
        # Try the most common pattern first, because most columns use only one.
        sample = [found for word in some_of(words) if (found := _match_date(word))]
        patterns = [pattern for pattern, _ in Counter(f.re for f in sample).most_common()]
        times = _parse_usual(words, sample, self.order)
        seconds = seconds_since(times)
        left = np.flatnonzero(times.isna())
        texts = [_read_date(words[i], self.order, [*patterns, *_DATES]) for i in left.tolist()]
        seconds[left] = seconds_of(texts)
        return self.turn(seconds)

    def turn(self, seconds: Array) -> dict[str, Array]:
        """Convert times in seconds to features; one more, last row is for a missing time."""
        seconds = np.append(np.where(np.abs(seconds) < _END, seconds, np.nan), np.nan)
        known = np.isfinite(seconds)
        days = seconds / _DAY
        # Whole seconds, since nanoseconds end in 2262, before the 9999-12-31 that many tables hold.
        times = pd.Series(np.floor(np.where(known, seconds, 0.0)).astype("datetime64[s]"))
        year = np.where(known, times.dt.year, np.nan)
        found = {"days": days, "year": year}
        for name, turned in (
            ("month", (times.dt.month - 1) / 12),
            ("weekday", times.dt.day_of_week / 7),
            ("hour", (days % 1.0)),
        ):
            angle = 2 * np.pi * np.asarray(turned, np.float64)
            # A missing time gets 0 here, the centre of the circle; its days are NaN.
            found[f"{name} sine"] = np.where(known, np.sin(angle).round(12), 0.0)
            found[f"{name} cosine"] = np.where(known, np.cos(angle).round(12), 0.0)
        wanted = self.features_of or tuple(found)
        return {name: found[name] for name in wanted}


@dataclass(frozen=True)
class TimeReader:
    """Read times of day as hours, with sine and cosine of the hour."""

    kind: ClassVar[str] = "time"
    how: ClassVar[str] = "hour"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return the hour of every word, with sine and cosine, and values for a missing time."""
        hours = np.array([*(_read_time(word) for word in words), np.nan])
        angle = 2 * np.pi * np.nan_to_num(hours) / 24
        known = np.isfinite(hours)
        return {
            "hours": hours,
            "hour sine": np.where(known, np.sin(angle).round(12), 0.0),
            "hour cosine": np.where(known, np.cos(angle).round(12), 0.0),
        }


@dataclass(frozen=True)
class DurationReader:
    """Read durations as seconds."""

    kind: ClassVar[str] = "duration"
    how: ClassVar[str] = "in seconds"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return the seconds of every word, and NaN for a missing value."""
        return {"": np.array([*(_read_duration(word) for word in words), np.nan])}


def find_date(words: Sequence[str], order: str = "") -> DateReader | None:
    """Return a reader of dates, or ``None`` if at most half of the words are dates.

    >>> find_date(["13/01/2024"]).order, find_date(["01/13/2024"]).order
    ('day', 'month')
    """
    some = some_of(words)
    matched = [found for word in some if (found := _match_date(word))]
    if not matched or 2 * len(matched) < len(some):
        return None
    pairs = [(int(f["a"]), int(f["b"]), f[2]) for f in matched if "a" in f.groupdict()]
    is_day = sum(a > 12 for a, _, _ in pairs)
    is_month = sum(b > 12 for _, b, _ in pairs)
    slashes = bool(pairs) and pairs[0][2] == "/"
    guess = "month" if is_month > is_day or (is_month == is_day and slashes) else "day"
    doubtful = slashes and is_day == is_month and not order
    return DateReader(order or guess, is_doubtful=doubtful)


def find_time(words: Sequence[str]) -> TimeReader | DurationReader | None:
    """Return a reader of times of day or of durations, or ``None`` if neither reads most words."""
    words = some_of(words)
    half = len(words) / 2
    if sum(bool(np.isfinite(_read_time(word))) for word in words) > half and not any(
        int(found["h"]) > 23 for word in words if (found := _SPAN.fullmatch(word))
    ):
        return TimeReader()
    if sum(bool(np.isfinite(_read_duration(word))) for word in words) > half:
        return DurationReader()
    return None


def seconds_of(texts: Sequence[str | None]) -> Array:
    """Convert ISO 8601 dates to seconds since 1970, and other texts to NaN."""
    series = pd.Series(list(texts), dtype=object)
    times = pd.to_datetime(series, format="ISO8601", errors="coerce", utc=True)
    return seconds_since(times)


def seconds_since(times: pd.Series) -> Array:
    """Convert dates to seconds since 1970, and durations to seconds; missing values are NaN."""
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    if times.dtype.kind == "M":
        times = times - pd.Timestamp(0).as_unit(times.dt.unit)  # nanoseconds end in 2262
    return np.array(times / pd.Timedelta(seconds=1), np.float64)


def _match_date(word: str, patterns: Sequence[re.Pattern[str]] = _DATES) -> re.Match[str] | None:
    if 6 <= len(word) <= 45 and any(map(str.isdigit, word)):
        for pattern in patterns:
            if found := pattern.fullmatch(word):
                return found
    return None


def _parse_usual(words: Sequence[str], sample: list[re.Match[str]], order: str) -> pd.Series:
    """Parse the words that have the most common format of the sample; the others become NaT.

    This is several times as fast as reading word by word with `_read_date`.
    """
    formats = Counter(_strptime_format(found, order) for found in sample).most_common(1)
    usual = formats[0][0] if formats else ""
    if not usual:
        return pd.Series(pd.NaT, index=range(len(words)), dtype="datetime64[ns]")
    return pd.to_datetime(pd.Series(words, dtype=object), format=usual, errors="coerce")


def _strptime_format(found: re.Match[str], order: str) -> str:
    """Return the `strptime` format of a date without names of months; empty for other dates."""
    part = {name: text for name, text in found.groupdict().items() if text}
    if part.keys() & {"mon", "half", "zone"} or not part.keys() & {"d", "a"}:
        return ""
    first, second = ("%d", "%m") if order == "day" else ("%m", "%d")
    second_of = "%S" if len(part.get("s", "")) < 3 else f"%S{part['s'][2]}%f"
    code = {"y": "%Y" if len(part["y"]) == 4 else "%y", "m": "%m", "d": "%d", "a": first,
            "b": second, "h": "%H", "min": "%M", "s": second_of}  # fmt: skip
    text = found.string
    for name in sorted(part, key=found.start, reverse=True):
        text = text[: found.start(name)] + code[name] + text[found.end(name) :]
    # Without marks between them, "2024115" would be read as November 5 or January 15.
    return "" if re.search(r"%[Ymd]%", text) else text


def _read_date(word: str, order: str, patterns: Sequence[re.Pattern[str]]) -> str | None:
    """Return the date in ISO 8601 format, or ``None``."""
    if (found := _match_date(word, patterns)) is None:
        return None
    part = found.groupdict()
    if "a" in part:
        part["d"], part["m"] = (part["a"], part["b"]) if order == "day" else (part["b"], part["a"])
    month = _MONTHS.get(part["mon"].lower()[:3], 0) if "mon" in part else int(part["m"])
    year = int(part["y"])
    if len(part["y"]) == 2:
        year += 1900 if year > 68 else 2000  # the rule of POSIX
    date = f"{year:04}-{month:02}-{int(part.get('d') or 1):02}"
    if not part.get("h"):
        return date
    hour = _hour(int(part["h"]), part.get("half"))
    zone = (part.get("zone") or "").replace("UTC", "Z").replace("GMT", "Z")
    seconds = (part["s"] or "00").replace(",", ".")
    return f"{date}T{hour:02}:{part['min']}:{seconds}{zone}"


def _hour(hour: int, half: str | None) -> int:
    if not half:
        return hour
    return hour % 12 + (12 if half[0] in "pP" else 0)


def _read_time(word: str) -> float:
    found = _TIME.fullmatch(word)
    if found is None or int(found["h"]) > 23 or int(found["min"]) > 59:
        return np.nan
    seconds = float(found["s"] or 0)
    return _hour(int(found["h"]), found["half"]) + int(found["min"]) / 60 + seconds / 3600


def _read_duration(word: str) -> float:
    found = _SPAN.fullmatch(word) or _PARTS.fullmatch(word)
    if found is None or not any(found.groups()):
        return np.nan
    sizes = {"d": _DAY, "h": 3600.0, "min": 60.0, "s": 1.0}
    return sum(float(found[name] or 0) * size for name, size in sizes.items())
