"""Compute the whole analysis of a record, once."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.analysis.alerts import Alert, find_alerts
from dropkit.study.analysis.baseline import Baseline, examine_baseline
from dropkit.study.analysis.summary import MethodSummary, summarize
from dropkit.study.analysis.verdict import Verdict, judge
from dropkit.study.record import Record


@dataclass(frozen=True)
class Analysis:
    """The conclusions from a record; every report is written from an `Analysis`.

    Attributes:
        record: the measurements.
        summaries: the numbers of every method, in the order of ``record.methods``.
        baseline: whether the baseline has learned, and whether it overfits.
        verdict: which method helps, and how certain that is.
        alerts: warnings about the results, the most severe first.
    """

    record: Record
    summaries: tuple[MethodSummary, ...]
    baseline: Baseline
    verdict: Verdict
    alerts: tuple[Alert, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the verdict, the next step and the alerts as sentences."""
        verdict = self.verdict
        step = [f"Next: {verdict.step.text}"] if verdict.step.text else []
        step += [f"  {verdict.step.command}"] if verdict.step.command else []
        return (verdict.headline, *verdict.details, *step, *map(str, self.alerts))


def _rank(alert: Alert) -> int:
    return ("error", "warning", "note").index(alert.severity)


def analyze(record: Record) -> Analysis:
    """Compute the analysis of a record."""
    summaries, baseline = summarize(record), examine_baseline(record)
    return Analysis(
        record=record,
        summaries=summaries,
        baseline=baseline,
        verdict=judge(record, summaries, baseline),
        alerts=tuple(sorted(find_alerts(record, summaries, baseline), key=_rank)),
    )
