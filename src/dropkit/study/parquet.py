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
"""How many rows are read at a time."""

_BUFFER = 1 << 16  # bytes of a column that are read ahead


@dataclass(frozen=True)
class ParquetSize:
    """How large a table is, and whether pandas left notes on it, as a run folder's tables have."""

    rows: int
    columns: int
    has_notes: bool


def read_parquet(path: Path) -> Any:
    """Read a whole file as a DataFrame.

    Raises:
        DataError: it is no Parquet file, or a damaged one.
        ImportError: pyarrow is not installed.
    """
    import pandas as pd  # here, since most tables are text

    with _refusing(path):
        return pd.read_parquet(path)


def measure_parquet(path: Path) -> ParquetSize:
    """Read how large a file's table is, without its rows."""
    import pyarrow.parquet

    with _refusing(path), pyarrow.parquet.ParquetFile(path) as file:
        notes = (file.schema_arrow.metadata or {}).get(b"PANDAS_ATTRS", b"{}")
        return ParquetSize(
            file.metadata.num_rows, len(file.schema_arrow.names), notes not in (b"{}", b"")
        )


def iterate_parquet(
    path: Path, columns: Sequence[str] | None = None, rows: int | None = None
) -> Iterator[Any]:
    """Yield the rows as DataFrames of at most ``rows``, `PIECE` if not given, in their order."""
    for table in _iterate(path, columns, rows):
        yield table.to_pandas()


def sample_parquet(path: Path, count: int, seed: int) -> Any:
    """Read ``count`` rows, drawn from the whole file and in its order, or all if fewer."""
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
        _refusing(path),
        # Buffered, or a group of rows would be in memory as a whole.
        pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(rows or PIECE, columns=columns, use_threads=False):
            yield pyarrow.Table.from_batches([batch])


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except (ImportError, DataError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises many kinds
        raise DataError(f"{path} cannot be read as Parquet: {first_line(error)}") from error
