"""Read files, DataFrames and lists of dictionaries into one table of text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropkit.errors import StudyError, first_line
from dropkit.study.parquet import read_parquet
from dropkit.text import nearest

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Table:
    """Columns of text by name, and where each row came from.

    A missing value is an empty cell. Numbers remain text until a column is known to hold scores, so
    that a method called ``None`` or ``0.10`` keeps its name.
    """

    columns: dict[str, list[str]]
    places: list[str]

    def __len__(self) -> int:
        return len(self.places)

    def select(self, rows: Sequence[int]) -> Table:
        """Return some of the rows, in the order given."""
        columns = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return Table(columns, [self.places[i] for i in rows])

    def with_column(self, name: str, cells: Sequence[str]) -> Table:
        """Return the table with a column added or replaced."""
        return Table(self.columns | {name: list(cells)}, self.places)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], places: Sequence[str]) -> Table:
        """Build a table from dictionaries; keys of nested dictionaries are joined by dots."""
        flat = [dict(_flatten(row)) for row in rows]
        names = dict.fromkeys(name for row in flat for name in row)
        return cls({name: [row.get(name, "") for row in flat] for name in names}, list(places))


def read_frame(frame: Any) -> Table:
    """Read a pandas DataFrame; a named index becomes columns."""
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    names = [str(name) for name in frame.columns]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StudyError(
            f"the columns of a table must have different names, got two {min(twice)!r}"
        )
    columns = {
        name: [write_cell(value) for value in frame.iloc[:, place].tolist()]
        for place, name in enumerate(names)
    }
    return Table(columns, [f"row {number}" for number in range(1, len(frame) + 1)])


def read_file(path: Path) -> Table:
    """Read a CSV, TSV, JSON-lines, JSON or Parquet file.

    Raises:
        StudyError: the file is missing, empty, damaged, or of another kind.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise StudyError(f"the name of {path} must end in one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        there = (
            [file.name for file in path.parent.glob(f"*{suffix}")] if path.parent.is_dir() else []
        )
        hint = f": {nearest(path.name, there)}" if there else ""
        raise StudyError(f"no file {str(path)!r}{hint}")
    try:
        if suffix == ".parquet":
            table = read_frame(read_parquet(path))
        elif suffix in (".csv", ".tsv", ".txt"):
            table = _read_text(path)
        else:
            table = _read_json(path)
    except (ValueError, csv.Error) as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"cannot read {path}: {first_line(error)}") from error
    if not len(table):
        raise StudyError(f"{path} is empty: it must hold a header and a row for every run")
    return table


def join_tables(tables: Sequence[Table]) -> Table:
    """Concatenate tables; if a table lacks a column, its cells are empty."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns: dict[str, list[str]] = {name: [] for name in names}
    for table in tables:
        for name in names:
            columns[name] += table.columns.get(name, [""] * len(table))
    return Table(columns, [place for table in tables for place in table.places])


def write_cell(value: Any) -> str:
    """Write a value as text; a missing value becomes an empty text.

    >>> [write_cell(value) for value in (None, float("nan"), 0.1, True, " a ")]
    ['', '', '0.1', 'True', 'a']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).strip()
    return "" if text in ("<NA>", "NaT") else text


def read_number(text: str) -> float | None:
    """Read a number or a percentage; return ``None`` if the text is neither.

    >>> read_number("0.5"), read_number("50 %"), read_number("nan"), read_number("high")
    (0.5, 0.5, nan, None)
    """
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        return None
    return number / 100 if share else number


def _read_text(path: Path) -> Table:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    if not lines:
        return Table({}, [])
    (_, header), *rows = lines
    names = [name or f"column {place}" for place, name in enumerate(header, 1)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StudyError(f"{path} has two columns called {min(twice)!r}; rename one of them")
    for number, cells in rows:
        if len(cells) > len(names):
            raise StudyError(
                f"{path} has {len(cells)} cells in line {number}, but {len(names)} columns; "
                "put text that holds the delimiter in quotes"
            )
    columns = {
        name: [cells[place] if place < len(cells) else "" for _, cells in rows]
        for place, name in enumerate(names)
    }
    if delimiter == ";":
        columns = {name: list(map(_read_decimal_comma, cells)) for name, cells in columns.items()}
    return Table(columns, [f"{path.name} line {number}" for number, _ in rows])


def _read_decimal_comma(cell: str) -> str:
    """Replace a decimal comma, which spreadsheets write in many countries, by a point."""
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _read_json(path: Path) -> Table:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        rows = json.loads(text)
        places = [f"{path.name} entry {number}" for number in range(1, len(rows) + 1)]
    else:
        lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        rows = [json.loads(line) for _, line in lines]
        places = [f"{path.name} line {number}" for number, _ in lines]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise StudyError(f"{path} must hold one object for every run, with its columns as keys")
    return Table.from_rows(rows, places)


def _flatten(row: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", write_cell(value)
