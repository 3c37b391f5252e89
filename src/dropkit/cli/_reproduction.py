"""Print a reproduction: its budget, and its results next to those of the paper."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.paper import Reproduction

_LOOK = {"within the range": "green", "outside the range": "red", "budget too short": "yellow"}


def show(result: Reproduction, console: Console | None = None) -> None:
    """Print the results of a reproduction and compare them with the paper."""
    console = console or Console()
    console.print(Text(result.title, style="bold"))
    console.print(Text(f"{result.source}. Budget: {result.budget}. {result.statement}"))
    rows = result.outcome.rows
    numbers = _table(list(rows[0]))
    for row in rows:
        numbers.add_row(*(_cell(value) for value in row.values()))
    console.print()
    console.print(numbers)
    beside = _table(["measured", "", "paper", "verdict"])
    for check in result.outcome.checks:
        verdict = result.verdict(check)
        beside.add_row(
            Text(check.what),
            _cell(check.measured),
            Text(check.paper),
            Text(verdict, style=_LOOK.get(verdict, "")),
        )
    console.print()
    console.print(beside)


def _table(columns: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _cell(value: str | float | None) -> Text:
    return Text(_format_value(value), justify="left" if isinstance(value, str) else "right")


def _format_value(value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
