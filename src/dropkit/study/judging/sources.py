"""Read finished runs from a DataFrame, from files or from dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dropkit.errors import StudyError
from dropkit.study.judging.exports import unpack_export
from dropkit.study.judging.table import Table, join_tables, read_file, read_frame

FILE = "file"
"""The column that names the file of a row, if there are several files."""


def open_runs(runs: Any) -> Table:
    """Read runs into one table, and unpack what a tracker exported.

    Raises:
        StudyError: a file cannot be read or is empty.
    """
    if hasattr(runs, "columns") and hasattr(runs, "iloc"):
        table = unpack_export(read_frame(runs), "the table")
        if not len(table):
            raise StudyError("the table is empty: it must have a row for every run")
        return table
    if isinstance(runs, str | Path):
        runs = [runs]
    if not isinstance(runs, Sequence) or not runs:
        raise StudyError(
            f"runs must be a DataFrame, paths or dictionaries, got {type(runs).__name__}"
        )
    if all(isinstance(run, Mapping) for run in runs):
        return Table.from_rows(runs, [f"row {number}" for number in range(1, len(runs) + 1)])
    if not all(isinstance(run, str | Path) for run in runs):
        raise StudyError("runs must be a DataFrame, paths or dictionaries, not a mixture")
    paths = [Path(run) for run in runs]
    tables = [unpack_export(read_file(path), path.stem) for path in paths]
    if len(tables) == 1:
        return tables[0]
    named = [
        table if FILE in table.columns else table.with_column(FILE, [path.stem] * len(table))
        for path, table in zip(paths, tables, strict=True)
    ]
    return join_tables(named)
