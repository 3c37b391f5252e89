"""Read Parquet tables that do not fit in memory, in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._columns import Columns, find_decimal_mark, read_columns
from dropkit.study.data._data import Array
from dropkit.study.data._repeats import RepeatCounter
from dropkit.study.data._scratch import Scratch
from dropkit.study.data._stored import StoredArray, StoredTable
from dropkit.study.data._streamed import LIMIT, StreamedData
from dropkit.study.data._table import find_column, usual_target, with_text_names
from dropkit.study.data._target import Target, encode, encode_like
from dropkit.study.parquet import iterate_parquet, measure_parquet, sample_parquet

CELLS = 100_000_000
"""The number of cells from which tables are read in pieces by default."""

# This many random rows decide how columns are read.
_SAMPLE = 100_000
_SEED = 2014

# Stop searching for target values that the sample lacks when this many values are found.
_MOST_CLASSES = 10_000


def is_large(path: Path) -> bool:
    """Return whether a Parquet file is read in pieces by default; files of run folders are not."""
    size = measure_parquet(path)
    return size.rows * size.columns >= CELLS and not size.has_notes


def load_streamed_table(
    path: Path,
    *,
    target: str | int | None = None,
    test: Path | None = None,
    val: Path | None = None,
    task: str | None = None,
    read: Mapping[str, str] | None = None,
) -> StreamedData:
    """Read a Parquet table in pieces; see `dropkit.study.data.load`.

    Random rows decide the kinds of the columns, and the whole target is read now. Features are
    read, and stored on the disk, when they are first needed.
    """
    files = {"": path} | {
        part: file for part, file in (("val", val), ("test", test)) if file is not None
    }
    for file in files.values():
        if file.suffix.lower() != ".parquet":
            raise DataError(f"{file} must be a Parquet file, as {path} is, to be read in pieces")
    counts = {part: measure_parquet(file).rows for part, file in files.items()}
    for part, count in counts.items():
        if not count:
            raise DataError(f"{files[part]} is empty: 0 rows")
    sample = with_text_names(sample_parquet(path, _SAMPLE, _SEED))
    notes = [
        f"read in pieces: {counts['']:,} rows, of which {len(sample):,} decided how columns are "
        f"read; at most {LIMIT:,} each are for validation and for the test, all others for training"
    ]
    if target is None:
        target, note = usual_target(sample)
        notes.append(note)
    column = find_column(sample, target)
    kinds = dict(read or {})
    hint = find_decimal_mark(sample)
    values = _find_values(path, column, sample[column])
    encoded = encode(values, column, task, kind=kinds.pop(column, None), hint=hint)
    columns = read_columns(sample.drop(columns=column), kinds, hint=hint)
    source = _Source(tuple(files.values()), column, encoded, columns)
    scratch, rows = Scratch(), sum(counts.values())
    kind = np.min_scalar_type(len(encoded.classes)) if encoded.classes else np.dtype(np.float64)
    source.y = StoredArray(scratch, "y", rows, np.empty(1, kind), source.targets)
    _ = source.y.digest  # read now to find errors early
    ends = np.cumsum(list(counts.values())).tolist()
    fixed = {
        part: range(end - counts[part], end) for part, end in zip(counts, ends, strict=True) if part
    }
    source.repeats = RepeatCounter(rows, fixed["test"].start if "test" in fixed else None)
    return StreamedData(
        path.name,
        StoredTable(scratch, rows, columns.X, source.features),
        source.y,  # type: ignore[arg-type]  # read in pieces like X
        encoded.task,
        encoded.classes,
        column,
        notes=(*notes, *encoded.notes, *columns.notes),
        columns=columns.readings,
        fixed=fixed,
        odd=source.odd,
        repeats=source.repeats,
    )


@dataclass
class _Source:
    """The concatenated rows of Parquet files, read like the sample of the first file."""

    files: tuple[Path, ...]
    column: str
    target: Target
    columns: Columns
    odd: list[str] = field(default_factory=list)
    y: StoredArray | None = None
    repeats: RepeatCounter | None = None

    def targets(self) -> Iterator[Array]:
        assert self.y is not None
        for file in self.files:
            for frame in iterate_parquet(file, [self.column]):
                yield encode_like(frame[self.column], self.target)[0].astype(self.y.dtype)

    def features(self) -> Iterator[pd.DataFrame]:
        assert self.y is not None
        assert self.repeats is not None
        row = 0
        for file in self.files:
            start = 0
            for frame in iterate_parquet(file):
                end = start + len(frame)
                try:
                    X, odd = self.columns.read_test(
                        with_text_names(frame), "column", "rows looked at"
                    )
                except DataError as error:
                    raise DataError(f"rows {start + 1} to {end} of {file}: {error}") from error
                self.odd += [f"from row {start + 1} on: {note}" for note in odd if not self.odd]
                self.repeats.see(X, self.y.take(np.arange(row, row + len(X))))
                yield X
                start, row = end, row + len(X)


def _find_values(path: Path, column: str, sample: pd.Series) -> pd.Series:
    """Append to the sample those values of the target that the sample lacks."""
    seen, row = set(sample.dropna().unique()), 0
    more: list[Any] = []
    for frame in iterate_parquet(path, [column]):
        values = frame[column]
        if values.isna().any():
            first = row + int(values.isna().argmax()) + 1
            raise DataError(
                f"target {column!r} is missing or NaN in row {first}; remove such rows or fill "
                "them in"
            )
        if len(more) < _MOST_CLASSES:
            more += [value for value in values.unique() if value not in seen]
            seen.update(more)
        row += len(values)
    if not more:
        return sample
    kind = object if isinstance(sample.dtype, pd.CategoricalDtype) else sample.dtype
    both = pd.concat([sample.astype(kind), pd.Series(more, dtype=kind)], ignore_index=True)
    return both.astype("category") if kind is object and sample.dtype != object else both
