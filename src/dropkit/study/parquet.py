"""Read Parquet files, at once or in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dropkit.errors import DataError, first_line


def read_parquet(path: Path) -> Any:
    """Read a whole file as a DataFrame.

    Raises:
        DataError: it is no Parquet file, or a damaged one.
        ImportError: pyarrow is not installed.
    """
    import pandas as pd  # here, since most tables are text

    try:
        return pd.read_parquet(path)
    except ImportError:
        raise
    except Exception as error:  # pyarrow raises many kinds
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as Parquet: {first_line(error)}")
