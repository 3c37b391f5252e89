"""Print the verdict and the tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.analysis import Analysis
from dropkit.study.analysis.summary import knows_rows
from dropkit.study.analysis.words import name_choices
from dropkit.study.report.numbers import (
    NONE,
    Cell,
    Row,
    format_constant,
    format_rows,
    name_unit,
)
from dropkit.study.report.wrapping import wrap_name
from dropkit.text import printable

LOOK = {"better": "bold green", "worse": "red", "": ""}
_SIGN = {"error": "!!", "warning": "! ", "note": "· "}
_NUMBERS = 54  # usual width of a table without the method's name


def show(analysis: Analysis, console: Console | None = None) -> None:
    """Print verdict, next step, alerts and tables; without a terminal, as plain text."""
    console = console or Console()
    verdict = analysis.verdict
    # Names of methods and columns come from the user, so print them as text, not as markup.
    console.print(Text(printable(verdict.headline), style="bold"))
    for line in verdict.details:
        console.print(Text(printable(line)))
    if verdict.step.text:
        console.print(Text(printable(f"Next: {verdict.step.text}")))
    if verdict.step.command:  # on one line of any length, so that it can be pasted
        command = printable(f"  {verdict.step.command}")
        console.print(Text(command, style="bold"), soft_wrap=True)
    if analysis.alerts:
        console.print()
    for alert in analysis.alerts:
        console.print(Text(printable(f"{_SIGN[alert.severity]} {alert}")))
    rows = format_rows(analysis)
    console.print()
    console.print(_build_table(analysis, rows, console.width))
    console.print(Text(_explain_table(analysis), style="dim"))
    if len(rows) > 1 and any(row.reached != NONE for row in rows):
        console.print()
        console.print(_build_cost_table(rows, console.width))
        short = printable(analysis.record.data.measure.short)
        console.print(
            Text(
                f"Updates and time of training until the validation {short} reaches a target, and "
                "time per step, all as multiples of the baseline's: 1.00× means as fast as the "
                f"baseline. The target is an estimate of the baseline's best validation {short}, "
                "corrected for luck, because the best epoch of a single run is partly lucky. So "
                "some runs of the baseline miss the target, too; the number in parentheses says "
                "how many reach it. "
                "A run that misses the target counts as if it reached the target at the end of the "
                "longer of the two trainings, its own and the baseline's.",
                style="dim",
            )
        )


def _explain_table(analysis: Analysis) -> str:
    record = analysis.record
    choices = name_choices(record, has_rows=knows_rows(record))
    marks = (
        "▼ (lower) and ▲ (higher) mark significant differences from the baseline (Holm-corrected "
        "p < 0.05)."
    )
    if record.overlap:
        return (
            f"± is half the width of a 95 % interval, which accounts for the choice of {choices}. "
            f"Intervals of differences are also corrected for the number of methods. {marks}"
        )
    return (
        "± is half the width of a 95 % interval. The interval of a method's own value accounts for "
        f"the choice of seeds. The interval of a difference accounts for the choice of {choices}, "
        f"and is corrected for the number of methods. {marks} ▽ and △ mark differences that are "
        "significant on these test rows only."
    )


def _build_table(analysis: Analysis, rows: Sequence[Row], width: int) -> Table:
    unit = name_unit(analysis.record)
    table = start_table((f"test {unit}", "vs baseline", "test − train", "time"))
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
    if constant := format_constant(analysis.record):
        name, value = constant
        shown = wrap_name(name, max(width - _NUMBERS, 12))
        table.add_row(Text(shown, style="dim"), Text(value, style="dim"))
    return table


def _build_cost_table(rows: Sequence[Row], width: int) -> Table:
    table = start_table(
        ("reached target\n(by baseline)", "updates\nto target", "time\nto target", "time\nper step")
    )
    for row in rows:
        by_baseline = row.baseline_reached
        reached = f"{row.reached} ({by_baseline})" if by_baseline else row.reached
        cells = (reached, *map(join_cell, (row.updates, row.seconds, row.step)))
        table.add_row(Text(wrap_name(row.method, max(width - _NUMBERS, 12))), *map(Text, cells))
    return table


def start_table(names: Sequence[str], first: str = "method") -> Table:
    """Return a table without lines: a column of names, and one of numbers under each heading.

    A heading may have several lines.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in names:
        heading = "\n".join(wrap_name(line, 18) for line in name.splitlines())
        table.add_column(Text(heading), justify="right", overflow="fold")
    return table


def join_cell(cell: Cell) -> str:
    """Join the mean and the half-width of its interval."""
    return f"{cell.mean} {cell.half}".rstrip()
