"""Read text tables: detect separator and header, and check encoding and rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._cells import MISSING, PERHAPS_MISSING
from dropkit.study.data._numbers import looks_like_number

# Try a comma last, because numbers and sentences also contain commas.
_SEPARATORS = ("\t", ";", "|", ",")
_SAMPLE = 1000
_START = 5_000_000  # characters that hold the first hundred rows of any table


def read_text_table(path: Path, header: bool | None = None) -> tuple[pd.DataFrame, bool]:
    """Read a comma-, semicolon-, tab- or bar-separated file.

    Args:
        path: the file; UTF-8, with or without a byte-order mark.
        header: whether the first row holds the column names; ``None`` detects it.

    Returns:
        The table, and whether its first row was a header. Without a header, columns are named
        ``column_1``, ``column_2``, … Every cell is the text in the file.

    Raises:
        DataError: the file is empty, is not UTF-8, or has only one column, only a header, rows of
            different lengths or a repeated column name.
    """
    text = _decode(path)
    tabs = path.suffix.lower() == ".tsv" and "\t" in text.lstrip("\n").partition("\n")[0]
    separator = "\t" if tabs else _find_separator(text[:_START])
    sample = _check_rows(path, text, separator)
    if header is None:
        header = _has_header(sample)
    if header and len(sample) == 1:
        raise DataError(f"{path} has a header and no rows; add rows below it")
    names = [f"column_{i}" for i, _ in enumerate(sample[0], start=1)]
    if header:
        names = [cell.strip() or name for cell, name in zip(sample[0], names, strict=True)]
        check_unique(names, str(path))
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            names=names,
            header=0 if header else None,
            index_col=False,
            skipinitialspace=True,
            dtype=object,
            na_filter=False,
        )
    except pd.errors.ParserError as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    return frame, header


def check_unique(names: list[str], where: str) -> None:
    """Raise `DataError` if two columns share a name."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        at = ", ".join(str(i) for i, other in enumerate(names, start=1) if other == name)
        raise DataError(
            f"{where}: column name {name!r} occurs {count} times (columns {at}); "
            "give every column its own name"
        )


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number in some notation, including infinity and NaN."""
    try:
        float(cell)
    except ValueError:
        return looks_like_number(cell)
    return True


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "LATIN1"
        raise DataError(
            f"{path} is not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start} "
            f"(line {line}); convert it with iconv -f {encoding} -t UTF-8"
        ) from None
    if not text.strip():
        raise DataError(f"{path} is empty")
    if "\0" in text:
        raise DataError(f"{path} is not text: zero byte at position {raw.index(0)}")
    return text


def _iterate_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            yield reader.line_num, row


def _find_separator(text: str) -> str:
    """Find the separator for which most of the first rows have the same number of cells."""

    def agreement(separator: str) -> tuple[float, int]:
        try:
            counts = Counter(len(row) for _, row in islice(_iterate_rows(text, separator), 100))
        except csv.Error:
            return 0.0, 0
        if not counts:  # everything is inside an open quotation mark
            return 0.0, 0
        cells, rows = counts.most_common(1)[0]
        return (rows / counts.total(), 0) if cells > 1 else (0.0, 0)

    return max(_SEPARATORS, key=agreement)


def _check_rows(path: Path, text: str, separator: str) -> list[list[str]]:
    """Return the first rows; raise `DataError` if rows differ in their number of cells."""
    sample: list[list[str]] = []
    try:
        for line, row in _iterate_rows(text, separator):
            if sample and len(row) != len(sample[0]):
                raise DataError(
                    f"{path}: line {line} has {len(row)} cells, expected {len(sample[0])} as in "
                    "the first row; correct the line or quote cells that hold a separator"
                )
            if len(sample) <= _SAMPLE:
                sample.append(row)
    except csv.Error as error:
        raise DataError(f"{path}: {error}; is a quotation mark left open?") from None
    if not sample:
        raise DataError(f"{path} has no row; is a quotation mark left open?")
    if len(sample[0]) < 2:
        raise DataError(
            f"{path} has one column; a table needs a target and a feature, "
            "separated by comma, semicolon, tab or |"
        )
    return sample


def _has_header(rows: list[list[str]]) -> bool:
    """Return whether the first row differs in kind from the rows below it.

    Every column votes. In a column of numbers, a text in the first row is a name, and a number is a
    value, unless the first row just numbers the columns. In a column of text, a first word that
    occurs again is a value; it is a name if it never occurs again but other words do. Without
    votes, words are names.
    """
    gaps = MISSING | PERHAPS_MISSING
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [cell for cell in first if _is_number(cell)]
    counting = len(numbers) > 2 and any(
        numbers == [str(i + start) for i, _ in enumerate(numbers)] for start in (0, 1)
    )
    votes = 0
    for cell, column in zip(first, zip(*body, strict=True), strict=False):
        values = [v.strip() for v in column if v.strip().lower() not in gaps]
        if not values or cell.lower() in gaps:
            continue
        if sum(map(_is_number, values)) > 0.9 * len(values):
            votes += 1 if not _is_number(cell) else -1 if not counting else 0
        elif cell in values:
            votes -= 1
        elif len(set(values)) <= len(values) / 2:
            votes += 1
    return votes > 0 or (votes == 0 and (counting or not numbers))
