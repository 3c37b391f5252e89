"""Format the numbers of a summary for a terminal and a page."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.analysis import Analysis, Estimate, MethodSummary
from dropkit.study.analysis.summary import choose_claim
from dropkit.study.analysis.words import (
    SHARE,
    format_interval,
    format_p,
    format_value,
    name_constant,
    name_method,
)
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
    """One method, every cell as text.

    ``mark`` is better, worse or empty. ``arrow`` shows the mark as a symbol, which is hollow if the
    difference is significant only on these test rows. ``by_chance`` is the calibration error that
    calibrated networks rarely exceed.
    """

    method: str
    value: Cell
    difference: Cell
    p: str
    gap: str
    loss: str
    calibration: Cell
    by_chance: str
    reached: str
    baseline_reached: str
    updates: Cell
    seconds: Cell
    step: Cell
    time: str
    diverged: str
    mark: str
    arrow: str


def format_rows(analysis: Analysis) -> tuple[Row, ...]:
    """Format the summary of every method."""
    record = analysis.record
    return tuple(
        _format_row(summary, name_method(record, summary.method), record.data.measure)
        for summary in analysis.summaries
    )


def format_constant(record: Record) -> tuple[str, str] | None:
    """Return name and value of the best constant prediction; ``None`` if unknown."""
    data = record.data
    if data.constant_value is None:
        return None
    return f"always {name_constant(data.task)}", format_value(data.constant_value, data.measure)


def choose_estimate(summary: MethodSummary) -> Estimate | None:
    """Return the difference, with the interval of its test or else the interval over seeds."""
    claim = choose_claim(summary)
    if claim is not None and claim.estimate.low is not None:
        return claim.estimate
    return summary.difference


def name_unit(record: Record) -> str:
    """Return the heading of the measure's column, with its unit: ``error, %``, ``RMSE``."""
    measure = record.data.measure
    return f"{measure.short}, %" if measure.percent else measure.short


def format_chance(summary: MethodSummary) -> str:
    """Format the calibration error that calibrated networks rarely exceed, in per cent."""
    chance = summary.calibration_by_chance
    return NONE if chance is None else f"≤ {format_value(chance, SHARE)}"


def _format_row(summary: MethodSummary, name: str, measure: Measure) -> Row:
    mark = arrow = ""
    if summary.is_significant_here and summary.difference is not None:
        is_lower = summary.difference.mean < 0
        arrow = "▽" if is_lower else "△"
        if summary.is_significant:
            mark = "better" if is_lower != measure.higher_is_better else "worse"
            arrow = "▼" if is_lower else "▲"
    target, p = summary.target, summary.claim.p_holm if summary.claim else None
    return Row(
        method=name,
        value=_format_estimate(summary.value, measure),
        difference=_format_estimate(choose_estimate(summary), measure, signed=True),
        p=NONE if p is None else format_p(p),
        gap=_format_estimate(summary.gap, measure).mean,
        loss=NONE if summary.loss is None else f"{summary.loss.mean:.3g}",
        calibration=_format_estimate(summary.calibration, SHARE),
        by_chance=format_chance(summary),
        reached=f"{target.reached} of {target.seeds}" if target.seeds else NONE,
        baseline_reached=f"{target.baseline_reached}" if target.seeds else "",
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
    # Student's interval is symmetric, so its half-width describes it fully.
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
