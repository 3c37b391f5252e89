"""The verdict and the table on standard output."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.analysis import Analysis
from dropkit.study.report.numbers import Cell, Row, format_rows
from dropkit.study.report.wrapping import wrap_name
from dropkit.text import printable

LOOK = {"better": "bold green", "worse": "red", "": ""}
_NUMBERS = 48  # columns that everything beside the method's name takes as a rule


def show(analysis: Analysis, console: Console | None = None) -> None:
    """Print the verdict, the tables and the alerts; plain text where it is not a terminal."""
    console = console or Console()
    # Text, never markup, and printable: method and column names are the user's.
    console.print(Text(printable(analysis.verdict.headline), style="bold"))
    for line in analysis.verdict.details:
        console.print(Text(printable(line)))
    rows = format_rows(analysis)
    console.print()
    console.print(_build_error_table(analysis, rows, console.width))
    console.print(
        Text(
            "± is half the width of a 95 % interval over the seeds. ▼ lower and ▲ higher than the "
            "baseline, significantly (Holm-corrected p < 0.05).",
            style="dim",
        )
    )
    if len(rows) > 1:
        short = analysis.record.data.measure.short
        console.print()
        console.print(_build_cost_table(rows, console.width))
        console.print(
            Text(
                f"Updates and seconds of training until the validation {short} is as good as the "
                "baseline's best, as multiples of what the baseline takes; mean over the seeds "
                "that reach it.",
                style="dim",
            )
        )
    if analysis.alerts:
        console.print()
        for alert in analysis.alerts:
            console.print(Text(printable(f"! {alert}")))


def _build_error_table(analysis: Analysis, rows: Sequence[Row], width: int) -> Table:
    measure = analysis.record.data.measure
    unit = "%" if measure.percent else measure.short
    names = (f"test {unit}", "vs baseline", "gap", "time")
    table = start_table(names)
    for row in rows:
        name = wrap_name(row.method, max(width - _NUMBERS, 12))
        name += f"\n({row.diverged} diverged)" if row.diverged else ""
        table.add_row(
            Text(name, style=LOOK[row.mark]),
            Text(join_cell(row.value)),
            Text(f"{join_cell(row.difference)} {row.arrow or ' '}", style=LOOK[row.mark]),
            Text(row.gap),
            Text(row.time),
        )
    return table


def _build_cost_table(rows: Sequence[Row], width: int) -> Table:
    table = start_table(("reached", "updates", "seconds", "seconds/step"))
    for row in rows:
        cells = (row.reached, *map(join_cell, (row.updates, row.seconds, row.step)))
        table.add_row(Text(wrap_name(row.method, max(width - _NUMBERS, 12))), *map(Text, cells))
    return table


def start_table(names: Sequence[str], first: str = "method") -> Table:
    """Return a table without rules: a column of names, and one of numbers under each heading."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(Text(wrap_name(name, 18)), justify="right", overflow="fold")
    return table


def join_cell(cell: Cell) -> str:
    """The mean and half the width of its interval."""
    return f"{cell.mean} {cell.half}".rstrip()
