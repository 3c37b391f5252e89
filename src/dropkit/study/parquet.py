"""Read Parquet files, at once or in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropkit.errors import DataError, first_line

PIECE = 65_536
"""The number of rows to read at a time."""

_BUFFER = 1 << 16  # bytes to read ahead in each column


@dataclass(frozen=True)
class ParquetSize:
    """The size of a table, and whether it has pandas metadata (as tables in a run folder have)."""

    rows: int
    columns: int
    has_notes: bool


def read_parquet(path: Path) -> Any:
    """Read a whole file as a DataFrame.

    Raises:
        DataError: the file is not a Parquet file, or is damaged.
        ImportError: pyarrow is not installed.
    """
    import pandas as pd  # imported here because few studies read Parquet

    with _convert_errors(path):
        return pd.read_parquet(path)


def measure_parquet(path: Path) -> ParquetSize:
    """Read the size of a file's table without reading its rows."""
    import pyarrow.parquet

    with _convert_errors(path), pyarrow.parquet.ParquetFile(path) as file:
        notes = (file.schema_arrow.metadata or {}).get(b"PANDAS_ATTRS", b"{}")
        return ParquetSize(
            file.metadata.num_rows, len(file.schema_arrow.names), notes not in (b"{}", b"")
        )


def iterate_parquet(
    path: Path, columns: Sequence[str] | None = None, rows: int | None = None
) -> Iterator[Any]:
    """Yield the rows in order, as DataFrames of at most ``rows`` rows (by default `PIECE`)."""
    for table in _iterate(path, columns, rows):
        yield table.to_pandas()


def sample_parquet(path: Path, count: int, seed: int) -> Any:
    """Read ``count`` random rows in file order, or all rows if there are fewer."""
    import pandas as pd
    import pyarrow

    total = measure_parquet(path).rows
    if total <= count:
        return read_parquet(path)
    chosen = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    taken, start = [], 0
    for table in _iterate(path):
        first, last = np.searchsorted(chosen, (start, start + len(table)))
        taken.append(table.take(chosen[first:last] - start))
        start += len(table)
    frame = pyarrow.concat_tables(taken).to_pandas()
    return frame.set_axis(pd.RangeIndex(len(frame)))


def _iterate(
    path: Path, columns: Sequence[str] | None = None, rows: int | None = None
) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    with (
        _convert_errors(path),
        # Without a buffer, pyarrow would hold a whole row group in memory.
        pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(rows or PIECE, columns=columns, use_threads=False):
            yield pyarrow.Table.from_batches([batch])


@contextmanager
def _convert_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (ImportError, DataError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises many kinds
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
