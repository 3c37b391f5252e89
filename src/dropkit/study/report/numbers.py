"""How the numbers of a summary read: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dropkit.study.analysis import Analysis, Estimate, MethodSummary
from dropkit.study.analysis.words import format_interval, format_p, format_value
from dropkit.study.record import Measure, Record

NONE = "–"


@dataclass(frozen=True)
class Cell:
    """An estimate as text: its mean, and its interval as bounds and as a half-width."""

    mean: str
    bounds: str = ""
    half: str = ""


@dataclass(frozen=True)
class Row:
    """One method, every cell as text; ``mark`` is better, worse or empty, ``arrow`` its sign."""

    method: str
    value: Cell
    difference: Cell
    p: str
    gap: str
    loss: str
    calibration: str
    reached: str
    updates: Cell
    seconds: Cell
    step: Cell
    time: str
    diverged: str
    mark: str
    arrow: str


def format_rows(analysis: Analysis) -> tuple[Row, ...]:
    """The summary of every method as text."""
    record = analysis.record
    rows = [_format_row(summary, record.data.measure) for summary in analysis.summaries]
    return tuple(
        replace(row, difference=Cell("baseline")) if row.method == record.baseline else row
        for row in rows
    )


def name_unit(record: Record) -> str:
    """What heads the measure's column, with its unit: ``error, %``, ``RMSE``."""
    measure = record.data.measure
    return f"{measure.short}, %" if measure.percent else measure.short


def _format_row(summary: MethodSummary, measure: Measure) -> Row:
    mark = arrow = ""
    if summary.is_significant and summary.difference is not None:
        mean = summary.difference.mean
        mark, arrow = "better" if measure.cost(mean) < 0 else "worse", "▼" if mean < 0 else "▲"
    target = summary.target
    return Row(
        method=summary.method,
        value=_format_estimate(summary.value, measure),
        difference=_format_estimate(summary.difference, measure, signed=True),
        p=NONE if summary.p_holm is None else format_p(summary.p_holm),
        gap=_format_estimate(summary.gap, measure).mean,
        loss=NONE if summary.loss is None else f"{summary.loss.mean:.3g}",
        calibration=NONE
        if summary.calibration is None
        else f"{100 * summary.calibration.mean:.1f}",
        reached=f"{target.reached} of {target.seeds}" if target.seeds else NONE,
        updates=_format_ratio(target.updates),
        seconds=_format_ratio(target.seconds),
        step=_format_ratio(summary.step_ratio),
        time=NONE if summary.time_ratio is None else f"{summary.time_ratio:.2f}×",
        diverged=f"{summary.diverged} of {summary.runs}" if summary.diverged else "",
        mark=mark,
        arrow=arrow,
    )


def _format_estimate(estimate: Estimate | None, measure: Measure, *, signed: bool = False) -> Cell:
    if estimate is None:
        return Cell(NONE)
    mean = format_value(estimate.mean, measure, signed=signed, within=estimate)
    if estimate.half is None:
        return Cell(mean)
    # Student's interval is symmetric, so that its half-width says all of it.
    half = format_value(estimate.half, measure, within=estimate)
    return Cell(mean, format_interval(estimate, measure), f"±{half}")


def _format_ratio(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return Cell(NONE)
    mean = f"{estimate.mean:.2f}×"
    if estimate.low is None or estimate.high is None or estimate.half is None:
        return Cell(mean)
    bounds = f"[{estimate.low:.2f}, {estimate.high:.2f}]".replace("-", "−")
    return Cell(mean, bounds, f"±{estimate.half:.2f}")
