"""Decide whether a study needs more seeds."""

from __future__ import annotations

from dropkit.study.analysis.analysis import Analysis
from dropkit.study.analysis.findings import Findings, sort_findings
from dropkit.study.analysis.gate import find_failure
from dropkit.study.analysis.summary import MethodSummary


def is_decided(analysis: Analysis) -> bool:
    """Return whether the verdict is settled, so that more seeds are not needed.

    A study is decided if a method is significantly better than the baseline on new test rows. It is
    also decided if a method is significantly better on these test rows, and only more test rows
    could make it significantly better on new ones. Finally, it is decided if every method is
    significantly worse on these test rows or too similar to matter, or if nothing can be compared.
    """
    record, summaries, baseline = analysis.record, analysis.summaries, analysis.baseline
    if not any(summary.difference for summary in summaries):
        return True
    if find_failure(record, summaries, baseline):
        return True
    found = sort_findings(record, summaries, baseline)
    if found.better or any(_needs_rows(found, summary) for summary in found.better_here):
        return True
    return all(s in found.worse or found.is_negligible(s) for s in found.all)


def _needs_rows(found: Findings, summary: MethodSummary) -> bool:
    """Return whether only more test rows could make a difference significant on new ones."""
    is_known = summary.claim is not None and summary.claim.p is not None
    return not is_known or found.count_needed(summary) is None
