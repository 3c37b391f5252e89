"""Return the summaries as a DataFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dropkit.study.analysis.analysis import Analysis
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.record import Measure

if TYPE_CHECKING:
    import pandas as pd


def tabulate(analysis: Analysis) -> pd.DataFrame:
    """Return one row per method; interval bounds are columns ending in ``_low`` and ``_high``.

    The column of the measure has its name, such as ``error`` or ``rmse``.
    """
    import pandas as pd  # imported here because it takes half a second and reports do not need it

    rows = [_make_row(summary, analysis.record.data.measure) for summary in analysis.summaries]
    return pd.DataFrame(rows).set_index("method")


def _make_row(summary: MethodSummary, measure: Measure) -> dict[str, Any]:
    row: dict[str, Any] = {
        "method": summary.method,
        "runs": summary.runs,
        "diverged": summary.diverged,
    }
    row |= _make_columns(measure.name, summary.value)
    claim = summary.claim
    row |= _make_columns("difference", summary.difference)
    row |= _make_columns("claim", claim.estimate if claim else None)
    row |= {"p": claim.p if claim else None, "p_holm": claim.p_holm if claim else None}
    for name in ("gap", "loss", "calibration"):
        row |= _make_columns(name, getattr(summary, name))
    row |= {"calibration_by_chance": summary.calibration_by_chance}
    row |= {
        "reached_target": summary.target.reached,
        "baseline_reached_target": summary.target.baseline_reached,
    }
    row |= _make_columns("updates_to_target", summary.target.updates)
    row |= _make_columns("time_to_target", summary.target.seconds)
    row |= _make_columns("step_ratio", summary.step_ratio)
    return row | {"time_ratio": summary.time_ratio, "seconds": summary.seconds}


def _make_columns(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    ends = (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
