"""How the numbers of a summary read: the same in a terminal and on a page."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.results import Results
from dropkit.study.stats import Estimate
from dropkit.study.summary import MethodSummary, summarize
from dropkit.study.verdict import amount, differs


@dataclass(frozen=True)
class Row:
    """One method, every cell as text; ``mark`` is better, worse or empty."""

    method: str
    error: str
    difference: str
    p: str
    gap: str
    loss: str
    calibration: str
    target: str
    step: str
    time: str
    diverged: str
    mark: str


def rows(results: Results) -> tuple[Row, ...]:
    """The summary of every method as text."""
    return tuple(_row(summary, results) for summary in summarize(results))


def unit(results: Results) -> str:
    """The unit that error columns name once."""
    return "%" if results.data.task == "classification" else "RMSE"


def _row(summary: MethodSummary, results: Results) -> Row:
    mark = ""
    if differs(summary) and summary.difference is not None:
        mark = "better" if summary.difference.mean < 0 else "worse"
    target = "–"
    if summary.target is not None:
        reached = f"{summary.target.reached} of {summary.target.of}"
        if summary.target.reached == 0:
            target = "never"
        elif summary.target.steps is None:
            target = f"({reached})"
        elif summary.target.reached < summary.target.of:
            target = f"{summary.target.steps:,.0f} ({reached})"
        else:
            target = f"{summary.target.steps:,.0f}"
    return Row(
        method=summary.method,
        error=_estimate(summary.error, results),
        difference=_estimate(summary.difference, results, signed=True),
        p="–" if summary.p_holm is None else _p(summary.p_holm),
        gap=_estimate(summary.gap, results, bounds=False),
        loss="–" if summary.loss is None else f"{summary.loss.mean:.3g}",
        calibration="–" if summary.calibration is None else f"{100 * summary.calibration.mean:.1f}",
        target=target,
        step=_times(summary.step_ratio),
        time=_times(summary.time_ratio),
        diverged=f"{summary.diverged} of {summary.runs}" if summary.diverged else "",
        mark=mark,
    )


def _estimate(
    estimate: Estimate | None, results: Results, *, signed: bool = False, bounds: bool = True
) -> str:
    if estimate is None:
        return "–"
    text = amount(estimate.mean, results, signed=signed)
    if not bounds or estimate.low is None or estimate.high is None:
        return text
    low, high = (amount(bound, results) for bound in (estimate.low, estimate.high))
    return f"{text} [{low}, {high}]"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
