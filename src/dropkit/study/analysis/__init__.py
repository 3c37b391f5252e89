"""Compute summaries, verdict and alerts from a record, once."""

from dropkit.study.analysis.advice import NextStep
from dropkit.study.analysis.alerts import Alert
from dropkit.study.analysis.analysis import Analysis, analyze
from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.family import Claim
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.target import Target
from dropkit.study.analysis.verdict import Verdict

__all__ = [
    "Alert",
    "Analysis",
    "Baseline",
    "Claim",
    "Effect",
    "Estimate",
    "MethodSummary",
    "NextStep",
    "Target",
    "Verdict",
    "analyze",
]
