"""How long each method takes to be as good as the baseline, on standard output."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.target import reaches
from dropkit.study.analysis.words import number
from dropkit.study.record.results import Results
from dropkit.study.report.numbers import unit
from dropkit.text import printable


def show(results: Results, console: Console | None = None) -> None:
    """Print a row for each method: updates and seconds until it was as good, and its test error."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("method", overflow="fold")
    for name in ("reached", "updates ×", "time ×", "a step ×", f"test {unit(results)}"):
        table.add_column(Text(name), justify="right", overflow="fold")
    for reach in reaches(results):
        runs = results.of(reach.method)
        diverged = sum(run.status == "diverged" for run in runs)
        doubt = f" ({diverged} of {len(runs)} diverged)" if diverged else ""
        cells = (
            f"{reach.reached} of {reach.seeds}",
            _ratio(reach.steps),
            _ratio(reach.seconds),
            _ratio(reach.step),
            _error(reach.error, results.data.task),
        )
        table.add_row(Text(printable(reach.method) + doubt), *map(Text, cells))
    console.print(table)
    console.print(
        Text(
            f"Until the lowest validation error of {results.baseline} with the same seed is "
            f"reached, as a multiple of what {results.baseline} takes; the mean over the seeds in "
            "which it is, ± half a 95 % interval. Time is that of training alone.",
            style="dim",
        )
    )


def _ratio(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    half = "" if estimate.half is None else f" ± {estimate.half:.2f}"
    return f"{estimate.mean:.2f}{half}"


def _error(estimate: Estimate | None, task: str) -> str:
    if estimate is None:
        return "–"
    mean = number(estimate.mean, task, within=estimate)
    half = estimate.half
    return mean if half is None else f"{mean} ± {number(half, task, within=estimate)}"
