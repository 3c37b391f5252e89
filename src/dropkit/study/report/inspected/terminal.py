"""Print how data are read."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.inspection import (
    Inspection,
    describe_features,
    describe_kind,
    describe_values,
)
from dropkit.text import printable

_MOST = 100  # columns to show; a page shows all columns
_LOOK = {True: "dim", False: ""}


def show(inspection: Inspection, console: Console | None = None) -> None:
    """Print the summary, a table of the columns, and surprises."""
    console = console or Console()
    first, *others = inspection.summary
    console.print(Text(printable(first), style="bold"))
    for line in others:
        console.print(Text(printable(line)))
    if inspection.columns:
        console.print()
        console.print(_build_table(inspection))
    if len(inspection.columns) > _MOST:
        console.print(f"and {len(inspection.columns) - _MOST} columns more; --html shows all")
    if inspection.notes:
        console.print()
        for note in inspection.notes:
            console.print(Text(printable(f"! {note}")))


def _build_table(inspection: Inspection) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("column", overflow="fold", ratio=3)
    table.add_column("is read as", overflow="fold", ratio=4)
    table.add_column("values", overflow="fold", ratio=5)
    table.add_column("missing", justify="right", width=7)
    table.add_column("distinct", justify="right", width=8)
    table.add_column("becomes", width=10)
    for column in inspection.columns[:_MOST]:
        values = describe_values(column)
        cells = (
            column.name,
            describe_kind(column),
            values if len(values) <= 60 else values[:59] + "…",
            f"{100 * column.missing / column.rows:.1f} %" if column.missing else "",
            f"{column.distinct:,}",
            describe_features(column),
        )
        look = _LOOK[column.is_left_out]
        table.add_row(*(Text(printable(cell), style=look) for cell in cells))
    return table
