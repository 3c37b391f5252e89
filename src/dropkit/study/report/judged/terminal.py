"""Print the verdict on finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.analysis import Analysis, Verdict
from dropkit.study.analysis.sets import SetsAnalysis
from dropkit.study.analysis.sets_verdict import judge_sets
from dropkit.study.report.judged.rows import format_datasets, format_sets
from dropkit.study.report.numbers import format_rows
from dropkit.study.report.terminal import LOOK, join_cell, start_table
from dropkit.study.report.wrapping import wrap_name
from dropkit.text import printable

_MOST = 6
"""The number of methods whose columns fit into a terminal."""


def show_runs(
    analysis: Analysis,
    alerts: Sequence[str] = (),
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """Print the verdict on runs of one data set, their numbers, and how they were read."""
    console = console or Console()
    _show_lines(console, analysis.verdict)
    console.print()
    console.print(_build_methods(analysis, console.width))
    _show_note(
        console,
        "± is half the width of a 95 % interval. Intervals of differences are corrected for the "
        "number of methods. ▼ (lower) and ▲ (higher) mark significant differences from the "
        "baseline (Holm-corrected p < 0.05).",
    )
    _show_notes(console, [*(f"! {alert}" for alert in alerts), *notes])


def show_sets(
    found: SetsAnalysis, notes: Sequence[str] = (), console: Console | None = None
) -> None:
    """Print the verdict over several data sets, ranks, differences, and every data set."""
    console = console or Console()
    _show_lines(console, judge_sets(found))
    console.print()
    console.print(_build_ranks(found, console.width))
    _show_note(
        console,
        _explain_ranks(found),
    )
    if len(found.summaries) <= _MOST:
        console.print()
        console.print(_build_datasets(found))
        _show_note(
            console,
            "Means over the runs, and differences from the baseline. ▼ and ▲ mark differences that "
            "are significant after correction for the number of methods and data sets.",
        )
    _show_notes(console, notes)


def _explain_ranks(found: SetsAnalysis) -> str:
    has_bounds = any(row.bounds for row in format_sets(found))
    shown = ", with its 95 % interval" if has_bounds else ""
    note = f"The difference is the median over the data sets{shown}; rank 1 is the best."
    if found.are_few:
        note += (
            f" There are too few data sets for p-values over data sets: {found.needed} are needed."
        )
    return note


def _show_lines(console: Console, verdict: Verdict) -> None:
    # Names come from the user, so print them as text, not as markup.
    console.print(Text(printable(verdict.headline), style="bold"))
    for line in verdict.details:
        console.print(Text(printable(line)))
    if verdict.step.text:
        console.print(Text(printable(f"Next: {verdict.step.text}")))


def _show_note(console: Console, text: str) -> None:
    console.print(Text(text, style="dim"))


def _show_notes(console: Console, notes: Sequence[str]) -> None:
    if notes:
        console.print()
    for line in notes:
        console.print(Text(printable(line)))


def _build_methods(analysis: Analysis, width: int) -> Table:
    measure = analysis.record.data.measure
    heading = f"{measure.label}, %" if measure.percent else measure.label
    table = start_table(("runs", heading, "vs baseline", "p (Holm)"))
    for row, summary in zip(format_rows(analysis), analysis.summaries, strict=True):
        style = LOOK[row.mark]
        table.add_row(
            Text(wrap_name(row.method, max(width - 58, 12)), style=style),
            Text(str(summary.runs)),
            Text(join_cell(row.value)),
            Text(f"{join_cell(row.difference)} {row.arrow or ' '}", style=style),
            Text(row.p),
        )
    return table


def _build_ranks(found: SetsAnalysis, width: int) -> Table:
    unit = f", {'points' if found.measure.percent else found.measure.short}"
    table = start_table(("mean rank", f"vs baseline{unit}", "better on", "p (Holm)"))
    for row in format_sets(found):
        name = wrap_name(row.method, max(width - 56, 12))
        cells = (row.rank, f"{row.difference} {row.bounds}".rstrip(), row.better, row.p)
        style = LOOK[row.mark]
        table.add_row(Text(name, style=style), *(Text(cell, style=style) for cell in cells))
    return table


def _build_datasets(found: SetsAnalysis) -> Table:
    names = [summary.method for summary in found.summaries]
    table = start_table([wrap_name(name, 16) for name in names], first="data set")
    for row in format_datasets(found):
        cells = []
        for cell in row.cells:
            text = f"{cell.value} ({cell.difference})" if cell.difference else cell.value
            text += f" {cell.arrow}" if cell.arrow else ""
            cells.append(Text(text, style=LOOK[cell.mark]))
        table.add_row(Text(printable(row.dataset)), *cells)
    return table
