"""Decide whether a study needs more seeds."""

from __future__ import annotations

from dropkit.study.analysis.analysis import Analysis
from dropkit.study.analysis.findings import Findings, sort_findings
from dropkit.study.analysis.gate import find_failure
from dropkit.study.analysis.summary import MethodSummary


def is_decided(analysis: Analysis) -> bool:
    """Return whether more seeds would not change the verdict.

    A study is decided if a method is significantly better than the baseline on new test rows, or if
    it is so only on these test rows and more seeds cannot change that. It is also decided if every
    method is significantly worse or too similar to matter, or if nothing can be compared.
    """
    record, summaries, baseline = analysis.record, analysis.summaries, analysis.baseline
    if not any(summary.difference for summary in summaries):
        return True
    if find_failure(record, summaries, baseline):
        return True
    found = sort_findings(record, summaries, baseline)
    if found.better or any(_needs_rows(found, summary) for summary in found.better_here):
        return True
    return all(s.is_significant_here or found.is_negligible(s) for s in found.all)


def _needs_rows(found: Findings, summary: MethodSummary) -> bool:
    """Return whether more seeds cannot make a difference significant on new test rows."""
    is_known = summary.claim is not None and summary.claim.p is not None
    return not is_known or found.count_needed(summary) is None
