"""How the numbers of a summary read: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary, Target, summarize
from dropkit.study.analysis.verdict import differs
from dropkit.study.analysis.words import chance, interval, number
from dropkit.study.record.results import Results

NONE = "–"
MARKS = {"better": "▼", "worse": "▲", "": ""}


@dataclass(frozen=True)
class Cell:
    """An estimate as text: its mean, and its interval as bounds and as a half-width."""

    mean: str
    bounds: str = ""
    half: str = ""


@dataclass(frozen=True)
class Row:
    """One method, every cell as text; ``mark`` is better, worse or empty."""

    method: str
    error: Cell
    difference: Cell
    p: str
    gap: str
    loss: str
    calibration: str
    steps: str
    reached: str
    step: str
    time: str
    diverged: str
    mark: str


def rows(results: Results) -> tuple[Row, ...]:
    """The summary of every method as text."""
    return tuple(_row(summary, results.data.task) for summary in summarize(results))


def unit(results: Results) -> str:
    """The unit that error columns name once."""
    return "%" if results.data.task == "classification" else "RMSE"


def _row(summary: MethodSummary, task: str) -> Row:
    mark = ""
    if differs(summary) and summary.difference is not None:
        mark = "better" if summary.difference.mean < 0 else "worse"
    steps, reached = _target(summary.target)
    return Row(
        method=summary.method,
        error=_cell(summary.error, task),
        difference=_cell(summary.difference, task, signed=True),
        p=_p(summary.p_holm),
        gap=_cell(summary.gap, task).mean,
        loss=NONE if summary.loss is None else f"{summary.loss.mean:.3g}",
        calibration=NONE
        if summary.calibration is None
        else f"{100 * summary.calibration.mean:.1f}",
        steps=steps,
        reached=reached,
        step=_times(summary.step_ratio),
        time=_times(summary.time_ratio),
        diverged=f"{summary.diverged} of {summary.runs}" if summary.diverged else "",
        mark=mark,
    )


def _target(target: Target | None) -> tuple[str, str]:
    if target is None:
        return NONE, ""
    if target.reached == 0:
        return "never", ""
    reached = "" if target.reached == target.of else f"{target.reached} of {target.of}"
    return (NONE if target.steps is None else f"{target.steps:,.0f}"), reached


def _cell(estimate: Estimate | None, task: str, *, signed: bool = False) -> Cell:
    if estimate is None:
        return Cell(NONE)
    mean = number(estimate.mean, task, signed=signed, within=estimate)
    if estimate.half is None:
        return Cell(mean)
    # Student's interval is symmetric, so that its half-width says all of it.
    half = number(estimate.half, task, within=estimate)
    return Cell(mean, interval(estimate, task), f"±{half}")


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}×"


def _p(value: float | None) -> str:
    return NONE if value is None else chance(value)
