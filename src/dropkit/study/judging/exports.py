"""Convert exports of experiment trackers, and tables with one column per method.

Each export becomes a table with one row per run, or per step of a run. Then columns are found by
name as in any other file.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dropkit.study.judging.table import Table, write_cell

RUN = "run"

_TENSORBOARD = {"Wall time", "Step", "Value"}
_TENSORBOARD_FILE = re.compile(r"run-(?P<run>.+?)-tag-(?P<tag>.+)")
_CHART = re.compile(r"(?P<run>.+) - (?P<metric>(?:(?! - ).)+)")
_NUMBERED = re.compile(
    r"(?P<method>.+?)[\W_]*(?:(?:seed|fold|run|rep|s)[\W_]*)?(?<![\d.])(?P<seed>\d+)", re.IGNORECASE
)


def unpack_export(table: Table, stem: str) -> Table:
    """Convert a tracker's export to a table of runs or steps; return any other table unchanged.

    Args:
        table: the content of one file.
        stem: the file's name without suffix; TensorBoard writes the run there.
    """
    if set(table.columns) == _TENSORBOARD:
        return _unpack_tensorboard(table, stem)
    if chart := _find_chart(table):
        return _unpack_chart(table, chart)
    return _expand_dictionaries(table)


def split_names(names: list[str]) -> tuple[list[str], list[str]] | None:
    """Split the names of runs into method and seed, such as ``dropout-seed3``.

    Return ``None`` unless every name ends in a number and some method has several numbers.

    >>> split_names(["none_1", "none_2", "dropout/seed=1"])
    (['none', 'none', 'dropout'], ['1', '2', '1'])
    >>> split_names(["vivid-sun-1", "calm-sea-2"])
    """
    found = [_NUMBERED.fullmatch(name) for name in names]
    methods = [match["method"] for match in found if match]
    seeds = [match["seed"] for match in found if match]
    if len(methods) < len(names) or len(set(methods)) == len(set(names)):
        return None
    return methods, seeds


def _unpack_tensorboard(table: Table, stem: str) -> Table:
    """Read one scalar of one run from a file called ``run-RUN-tag-TAG.csv``."""
    named = _TENSORBOARD_FILE.fullmatch(stem)
    run, tag = (named["run"], named["tag"]) if named else (stem, "Value")
    columns = {
        RUN: [run] * len(table),
        "Step": table.columns["Step"],
        tag: table.columns["Value"],
    }
    return Table(columns, table.places)


def _find_chart(table: Table) -> dict[str, tuple[str, str]]:
    """Find the ``RUN - METRIC`` columns of a chart exported by Weights & Biases."""
    if len(table.columns) < 2:
        return {}
    _, *others = table.columns
    found = {name: _CHART.fullmatch(name) for name in others}
    if not all(found.values()):
        return {}
    return {
        name: (match["run"].removeprefix("Group: "), match["metric"].strip())
        for name, match in found.items()
        if match and not name.endswith(("__MIN", "__MAX"))
    }


def _unpack_chart(table: Table, chart: Mapping[str, tuple[str, str]]) -> Table:
    step = next(iter(table.columns))
    rows, places = [], []
    for name, (run, metric) in chart.items():
        for i, cell in enumerate(table.columns[name]):
            if cell:
                rows.append({RUN: run, "Step": table.columns[step][i], metric: cell})
                places.append(table.places[i])
    return Table.from_rows(rows, places)


def _expand_dictionaries(table: Table) -> Table:
    """Replace columns of dictionaries, such as ``config`` and ``summary``, by a column per key."""
    for name, cells in list(table.columns.items()):
        read = [_read_dictionary(cell) for cell in cells]
        if any(cells) and all(row is not None for row in read):
            inner = Table.from_rows(({name: row} for row in read), table.places)
            kept = {other: column for other, column in table.columns.items() if other != name}
            table = Table(kept | inner.columns, table.places)
    return table


def _read_dictionary(cell: str) -> Mapping[str, Any] | None:
    if not cell:
        return {}
    if not (cell.startswith("{") and cell.endswith("}")):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return {str(key): inner for key, inner in value.items()}
    return None


def stack_methods(table: Table, methods: list[str], score: str) -> Table:
    """Convert a table with one column per method to one row per score."""

    def rows() -> Iterator[tuple[dict[str, str], str]]:
        others = [name for name in table.columns if name not in methods]
        for i, place in enumerate(table.places):
            shared = {name: table.columns[name][i] for name in others}
            for method in methods:
                cell = write_cell(table.columns[method][i])
                yield shared | {"method": method, score: cell}, place

    cells, places = zip(*rows(), strict=True)
    return Table.from_rows(cells, places)
