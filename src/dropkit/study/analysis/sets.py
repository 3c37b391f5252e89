"""Compare methods over several data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dropkit.study.analysis.aggregate import Bootstrap, Pair, estimate_improvement, estimate_middle
from dropkit.study.analysis.analysis import Analysis
from dropkit.study.analysis.family import SIGNIFICANCE
from dropkit.study.analysis.ranks import (
    FloatArray,
    Friedman,
    critical_difference,
    friedman_test,
    least_p,
    median_interval,
    rank,
    signed_rank_test,
)
from dropkit.study.analysis.stats import Estimate, holm
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.record import Measure


@dataclass(frozen=True)
class MethodOverSets:
    """One method over all data sets.

    Attributes:
        method: the name of the method.
        rank: mean over data sets of the rank of the method's mean score; 1 is the best.
        difference: Hodges and Lehmann's median difference from the baseline over the data sets,
            with the 95 % interval of the signed-rank test.
        better: number of data sets on which the method's mean is better than the baseline's.
        worse: number of data sets on which the method's mean is worse.
        p: p-value of Wilcoxon's signed-rank test; ``p_holm`` is corrected for the number of
            methods.
        improvement: the probability that a run of the method is better than a run of the baseline;
            only for few data sets with several runs each.
        middle: the difference of interquartile means over all runs, under the same condition.
    """

    method: str
    rank: float
    difference: Estimate | None = None
    better: int = 0
    worse: int = 0
    p: float | None = None
    p_holm: float | None = None
    improvement: Bootstrap | None = None
    middle: Bootstrap | None = None

    @property
    def is_significant(self) -> bool:
        """Whether the method differs significantly from the baseline over the data sets."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class SetDifference:
    """One method on one data set; ``p_holm`` is corrected over all methods and data sets."""

    dataset: str
    method: str
    difference: Estimate
    p_holm: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the method differs significantly from the baseline on this data set."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class SetsAnalysis:
    """The comparison of methods over several data sets.

    Attributes:
        analyses: the separate analysis of every data set, by name.
        summaries: every method over all data sets, the best mean rank first.
        differences: every method on every data set.
        friedman: Friedman's test of whether any methods differ; ``None`` for two methods.
        critical_difference: Nemenyi's critical difference of mean ranks; ``None`` for two methods.
    """

    analyses: dict[str, Analysis]
    summaries: tuple[MethodOverSets, ...]
    differences: tuple[SetDifference, ...]
    friedman: Friedman | None
    critical_difference: float | None

    @property
    def measure(self) -> Measure:
        """The metric by which methods are compared."""
        return next(iter(self.analyses.values())).record.data.measure

    @property
    def baseline(self) -> str:
        """The method that every other method is compared with."""
        return next(iter(self.analyses.values())).record.baseline

    @property
    def needed(self) -> int:
        """The smallest number of data sets for which the signed-rank test can be significant."""
        return _count_needed(len(self.summaries))

    @property
    def are_few(self) -> bool:
        """Whether there are too few data sets for the signed-rank test."""
        return len(self.analyses) < self.needed

    def compare(self, method: str, other: str) -> float | None:
        """Return the uncorrected p-value of the signed-rank test between two methods."""
        return signed_rank_test(self._means[method] - self._means[other])

    @cached_property
    def _means(self) -> dict[str, FloatArray]:
        return collect_means(self.analyses)


def analyze_sets(analyses: Mapping[str, Analysis]) -> SetsAnalysis:
    """Compare methods over several data sets; each data set must have runs of every method."""
    first = next(iter(analyses.values())).record
    cost, baseline = first.data.measure.cost, first.baseline
    means = collect_means(analyses)
    costs = {method: np.array([cost(v) for v in values]) for method, values in means.items()}
    ranks = np.array([rank(row) for row in np.stack(list(costs.values()), axis=1)])
    placed = dict(zip(means, ranks.mean(0), strict=True))
    others = [method for method in means if method != baseline]
    p_values = [signed_rank_test(means[method] - means[baseline]) for method in others]
    summaries = [MethodOverSets(baseline, float(placed[baseline]))]
    for method, p, p_holm in zip(others, p_values, holm(p_values), strict=True):
        better = costs[method] < costs[baseline]
        worse = costs[method] > costs[baseline]
        middle, low, high = median_interval(means[method] - means[baseline])
        pairs = _collect_runs(analyses, method, baseline)
        described = len(analyses) < _count_needed(len(means)) and all(
            min(map(len, pair)) > 1 for pair in pairs
        )
        summaries.append(
            MethodOverSets(
                method,
                float(placed[method]),
                Estimate(middle, low, high, len(analyses)),
                int(better.sum()),
                int(worse.sum()),
                p,
                p_holm,
                estimate_improvement(pairs) if described else None,
                estimate_middle(pairs) if described else None,
            )
        )
    many = len(means) > 2
    return SetsAnalysis(
        analyses=dict(analyses),
        summaries=tuple(sorted(summaries, key=lambda summary: summary.rank)),
        differences=tuple(_list_differences(analyses)),
        friedman=friedman_test(ranks) if many else None,
        critical_difference=critical_difference(len(means), len(analyses)) if many else None,
    )


def collect_means(analyses: Mapping[str, Analysis]) -> dict[str, FloatArray]:
    """Return each method's mean score over its runs, with one value per data set."""
    first = next(iter(analyses.values()))
    means: dict[str, list[float]] = {summary.method: [] for summary in first.summaries}
    for analysis in analyses.values():
        for summary in analysis.summaries:
            assert summary.value is not None, "a data set that lacks a method was refused"
            means[summary.method].append(summary.value.mean)
    return {method: np.array(values) for method, values in means.items()}


def _count_needed(methods: int) -> int:
    count = 1
    while (methods - 1) * least_p(count) >= SIGNIFICANCE:
        count += 1
    return count


def _collect_runs(analyses: Mapping[str, Analysis], method: str, baseline: str) -> list[Pair]:
    cost = next(iter(analyses.values())).record.data.measure.cost

    def costs(analysis: Analysis, name: str) -> FloatArray:
        return np.array([cost(run.test.value) for run in analysis.record.of(name) if run.test])

    return [(costs(each, method), costs(each, baseline)) for each in analyses.values()]


def _list_differences(analyses: Mapping[str, Analysis]) -> list[SetDifference]:
    """Return all differences from the baseline, corrected over all methods and data sets."""
    compared: list[tuple[str, MethodSummary, Estimate]] = [
        (name, summary, summary.difference)
        for name, analysis in analyses.items()
        for summary in analysis.summaries
        if summary.difference is not None
    ]
    p_values: Sequence[float | None] = [summary.p for _, summary, _ in compared]
    return [
        SetDifference(name, summary.method, difference, p)
        for (name, summary, difference), p in zip(compared, holm(p_values), strict=True)
    ]
