"""Everything that a record shows, computed once."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.analysis.alerts import Alert, find_alerts
from dropkit.study.analysis.baseline import Baseline, examine_baseline
from dropkit.study.analysis.summary import MethodSummary, summarize
from dropkit.study.analysis.verdict import Verdict, judge
from dropkit.study.record import Record


@dataclass(frozen=True)
class Analysis:
    """What a record shows; every report is written from one.

    Attributes:
        record: what was measured.
        summaries: the numbers of every method, in the order of ``record.methods``.
        baseline: whether the baseline has learned, and whether it overfits.
        verdict: which method helps, and how surely.
        alerts: what may mislead, the gravest first.
    """

    record: Record
    summaries: tuple[MethodSummary, ...]
    baseline: Baseline
    verdict: Verdict
    alerts: tuple[Alert, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The verdict and the alerts as sentences."""
        return (self.verdict.headline, *self.verdict.details, *map(str, self.alerts))


def analyze(record: Record) -> Analysis:
    """Compute everything that a record shows."""
    summaries, baseline = summarize(record), examine_baseline(record)
    return Analysis(
        record=record,
        summaries=summaries,
        baseline=baseline,
        verdict=judge(record, summaries, baseline),
        alerts=tuple(find_alerts(record, baseline)),
    )
