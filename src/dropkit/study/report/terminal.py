"""The verdict and the table on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.analysis.verdict import verdict
from dropkit.study.record.results import Results
from dropkit.study.report.numbers import MARKS, Cell, rows, unit
from dropkit.study.report.wrapping import wrap
from dropkit.text import printable

_LOOK = {"better": "bold green", "worse": "red", "": ""}
_NUMBERS = 58  # columns that everything beside the method's name takes as a rule


def show(results: Results, console: Console | None = None) -> None:
    """Print the verdict, the table and the alerts; plain text where it is not a terminal."""
    console = console or Console()
    said = verdict(results)
    # Text, never markup, and printable: method and column names are the user's.
    console.print(Text(printable(said.headline), style="bold"))
    for line in said.details:
        console.print(Text(printable(line)))
    console.print()
    console.print(_table(results, console.width))
    console.print(
        Text(
            "± is half a 95 % interval over the seeds; ▼ lower and ▲ higher error are detectable: "
            "Holm's p is below 0.05.",
            style="dim",
        )
    )
    if said.alerts:
        console.print()
        for line in said.alerts:
            console.print(Text(printable(f"! {line}")))


def _table(results: Results, width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("method", no_wrap=True)
    names = (f"test {unit(results)}", f"vs {results.baseline}", "gap", "to target", "time")
    for name in names:
        table.add_column(Text(wrap(name, 18)), justify="right", overflow="fold")
    for row in rows(results):
        name = wrap(row.method, max(width - _NUMBERS, 12))
        name += f"\n({row.diverged} diverged)" if row.diverged else ""
        reached = f" ({row.reached.replace(' of ', '/')})" if row.reached else ""
        table.add_row(
            Text(name, style=_LOOK[row.mark]),
            Text(_plus_minus(row.error)),
            Text(f"{_plus_minus(row.difference)} {MARKS[row.mark] or ' '}", style=_LOOK[row.mark]),
            Text(row.gap),
            Text(f"{row.steps}{reached}"),
            Text(row.time),
        )
    return table


def _plus_minus(cell: Cell) -> str:
    return f"{cell.mean} {cell.half}".rstrip()
