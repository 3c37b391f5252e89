"""The verdict and the table on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.report.numbers import rows, unit
from dropkit.study.results import Results
from dropkit.study.verdict import verdict

_LOOK = {"better": "bold green", "worse": "red", "": ""}


def show(results: Results, console: Console | None = None) -> None:
    """Print the verdict, the table and the alerts; plain text where it is not a terminal."""
    console = console or Console()
    said = verdict(results)
    # Text, never markup: method and column names are the user's.
    console.print(Text(said.headline, style="bold"))
    for line in said.details:
        console.print(Text(line))
    console.print()
    console.print(_table(results))
    if said.alerts:
        console.print()
        for line in said.alerts:
            console.print(Text(f"! {line}"))


def _table(results: Results) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold", min_width=12)
    for name in (
        f"test {unit(results)} [95 %]",
        f"vs {results.baseline} [95 %]",
        "gap",
        "to target",
        "time",
    ):
        table.add_column(Text(name), justify="right", overflow="fold")
    for row in rows(results):
        name = row.method + (f" ({row.diverged} diverged)" if row.diverged else "")
        table.add_row(
            Text(name, style=_LOOK[row.mark]),
            Text(row.error),
            Text(row.difference, style=_LOOK[row.mark]),
            Text(row.gap),
            Text(row.target),
            Text(row.time),
        )
    return table
