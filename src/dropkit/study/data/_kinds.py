"""Choose the reader that fits all values of a column, or a reason to leave it out."""

from __future__ import annotations

from dataclasses import replace
from reprlib import repr as shown  # shows at most 30 characters of a cell

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._categories import (
    CategoryReader,
    find_boolean,
    find_list,
    near_twins,
)
from dropkit.study.data._cells import Cells, plain
from dropkit.study.data._choices import (
    MANY,
    MOST_STRAY,
    NEARLY_ALL,
    Choice,
    Reader,
    describe_unread,
    unread_words,
)
from dropkit.study.data._dates import (
    DateReader,
    DurationReader,
    TimeReader,
    find_date,
    find_time,
)
from dropkit.study.data._numbers import NumberReader, are_codes, find_notation
from dropkit.study.data._plain_numbers import choose_for_numbers, doubt_sentinel
from dropkit.study.data._preprocess import MAX_CATEGORIES, MIN_ROWS
from dropkit.study.data._words import TextReader

_SENTENCE = 4  # a column is text if a typical cell has at least this many spaces


def choose(name: str, cells: Cells, hint: str = "") -> tuple[Choice, Cells]:
    """Choose a reader for cells of text, and mark words that count as missing."""
    rows = len(cells.index)
    if not cells.present:
        return Choice(None, "empty"), cells
    if len(cells.words) == 1 and cells.present == rows:
        return Choice(None, "constant"), cells
    if truth := find_boolean(cells.words):
        return Choice(truth), cells
    bare = cells.without_gaps()
    if bare.present and (found := _measure(name, bare, hint)):
        return found, bare
    if not bare.present:
        return Choice(None, "empty"), bare
    cells = cells.without_rare_gaps()
    if lists := find_list(cells):
        return Choice(lists), cells
    return _choose_words(name, cells, hint), cells


def choose_categories(name: str, cells: Cells) -> Choice:
    """Choose a reader for a column of pandas categories."""
    if not cells.present:
        return Choice(None, "empty")
    if len(cells.words) == 1 and cells.present == len(cells.index):
        return Choice(None, "constant")
    if len(cells.words) == cells.present > 2:
        return Choice(None, _name_unique(cells))
    return Choice(CategoryReader())


def choose_given(name: str, cells: Cells, kind: str, hint: str = "") -> tuple[Choice, Cells]:
    """Read the cells as the user says; raise `DataError` if most cells cannot be read."""
    if kind == "drop":
        return Choice(None, "drop"), cells
    if kind == "category":
        return Choice(CategoryReader("as asked for")), cells
    if kind == "text":
        return Choice(TextReader()), cells
    cells = cells.without_gaps()
    reader: Reader | None
    if kind in ("number", "decimal-comma", "decimal-point"):
        mark = {"decimal-comma": ",", "decimal-point": "."}.get(kind, "")
        reader = find_notation(cells.words, hint=hint, decimal=mark) or NumberReader(mark or ".")
        reader = replace(reader, is_doubtful=False)
    elif kind in ("date", "day-first", "month-first"):
        order = kind.removesuffix("-first") if kind != "date" else ""
        reader = find_date(cells.words, order) or DateReader()
    elif kind == "boolean":
        reader = find_boolean(cells.words)
    elif kind == "list":
        reader = find_list(cells, is_given=True)
    else:
        reader = TimeReader() if kind == "time" else DurationReader()
    if reader is None:
        raise DataError(
            f"column {name!r} cannot be read as {kind}: it holds {_some(cells.words)}; leave "
            f"--read {name}={kind} out"
        )
    unread = unread_words(reader, cells)
    if 2 * cells.rows(unread) > cells.present:
        raise DataError(
            f"column {name!r} cannot be read as {kind}: {describe_unread(cells, unread)}; leave "
            f"--read {name}={kind} out"
        )
    return Choice(reader), cells


def _measure(name: str, cells: Cells, hint: str) -> Choice | None:
    """Choose numbers, dates, times or durations: the kind that reads the most cells."""
    found = (
        find_date(cells.words),
        find_notation(cells.words, hint=hint),
        find_time(cells.words),
    )
    readers: list[Reader] = [reader for reader in found if reader is not None]
    if not readers:
        return None
    unread = [cells.rows(unread_words(reader, cells)) for reader in readers]
    stray = min(unread)
    reader = readers[unread.index(stray)]
    if stray > MOST_STRAY * cells.present:
        return None
    values = next(iter(cells.read(reader).values()))[:-1]
    distinct = len(np.unique(values[~np.isnan(values)]))
    if stray and isinstance(reader, NumberReader) and distinct <= MANY:
        return None
    if isinstance(reader, NumberReader):
        if why := are_codes(cells.words):
            return _choose_code(name, cells, why)
        other = choose_for_numbers(name, values[cells.index[cells.index >= 0]], None)
        if other and other.left_out != "row number" and not isinstance(other.reader, NumberReader):
            return other
    return Choice(reader, notes=_doubt(name, reader, cells))


def _doubt(name: str, reader: Reader, cells: Cells) -> tuple[str, ...]:
    """Describe what the values do not decide, and name the option that decides it."""
    if isinstance(reader, NumberReader) and reader.is_doubtful:
        word = next(w for w in cells.words if {".", ","} & set(w))
        value = plain(reader.features([word])[""][0])
        other = "decimal-comma" if reader.decimal == "." else "decimal-point"
        return (f"column {name!r}: {word!r} is read as {value}; --read {name}={other} changes it",)
    if isinstance(reader, DateReader):
        years = cells.read(reader)["year"][cells.index]
        notes = doubt_sentinel(name, years[~np.isnan(years)], "the year ")
        if reader.is_doubtful:
            notes += (
                f"column {name!r}: dates such as {cells.words[0]!r} are read as month/day; --read "
                f"{name}=day-first changes it",
            )
        return notes
    return ()


def _choose_code(name: str, cells: Cells, why: str) -> Choice:
    if len(cells.words) > NEARLY_ALL * cells.present and len(cells.words) > MANY:
        return Choice(None, "identifier", why)
    note = f"column {name!r} is read as categories: {why}; --read {name}=number changes it"
    return Choice(CategoryReader(why), notes=(note,))


def _choose_words(name: str, cells: Cells, hint: str) -> Choice:
    words, present = cells.words, cells.present
    if len(words) == 1 and present == len(cells.index):
        return Choice(None, "constant")
    nearly = len(words) > NEARLY_ALL * present and present >= 50
    doubts = _doubt_words(name, cells, hint)
    if (len(words) == present > 2) or nearly:
        return Choice(None, _name_unique(cells), notes=doubts)
    spaces = np.median([word.count(" ") for word in words])
    if spaces >= _SENTENCE and len(words) > MAX_CATEGORIES:
        return Choice(None, "text")
    twins = near_twins(words)
    if twins:
        first, second = twins[0]
        more = f" ({len(twins)} such pairs)" if len(twins) > 1 else ""
        doubts += (f"column {name!r}: {first!r} and {second!r} differ by case or spaces{more}",)
    return Choice(CategoryReader(), notes=doubts)


def _name_unique(cells: Cells) -> str:
    spaces = np.median([word.count(" ") for word in cells.words])
    return "text" if spaces >= _SENTENCE else "identifier"


def _doubt_words(name: str, cells: Cells, hint: str) -> tuple[str, ...]:
    """Note that a column of words may be of another kind, or that most words are rare."""
    counts = cells.counts
    if len(cells.words) <= MANY:
        return ()
    bare = cells.without_gaps()
    for reader, kind in ((find_notation(bare.words, hint=hint), "number"),
                         (find_date(bare.words), "date")):  # fmt: skip
        unread = None if reader is None else unread_words(reader, bare)
        if unread is not None and bare.rows(unread) < 0.5 * bare.present and (~unread).sum() > MANY:
            share = 100 * (1 - bare.rows(unread) / bare.present)
            return (
                f"column {name!r} holds {kind}s in {share:.0f} % of its cells, but not "
                f"{describe_unread(bare, unread)}: read as categories; with --read {name}={kind} "
                "those cells are missing",
            )
    if len(cells.words) == cells.present:
        return ()
    frequent = np.sort(counts[counts >= MIN_ROWS])[::-1][:MAX_CATEGORIES].sum()
    rare = 1 - frequent / cells.present
    if rare > 0.9:
        word = cells.words[int(counts.argmin())]
        return (
            f"column {name!r} holds rare values in {100 * rare:.0f} % of its cells, such as "
            f"{shown(word)}: only their frequency becomes a feature",
        )
    return ()


def _some(words: tuple[str, ...]) -> str:
    return ", ".join(map(repr, words[:3])) + (", …" if len(words) > 3 else "")
