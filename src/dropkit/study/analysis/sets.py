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
        method: its name.
        rank: mean rank of its mean over the runs of a data set; 1 is the best.
        difference: median difference from the baseline over the data sets, by Hodges and Lehmann,
            with the 95 % interval that belongs to the signed-rank test.
        better: data sets on which its mean is better than the baseline's.
        worse: data sets on which it is worse.
        p: of Wilcoxon's signed-rank test; ``p_holm`` corrected for the number of methods compared.
        improvement: the probability that a run of it is better than one of the baseline, where
            there are several runs on each of few data sets.
        middle: likewise the difference of interquartile means over all runs.
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
        """Whether it differs significantly from the baseline over the data sets."""
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
        """Whether it differs significantly from the baseline on this data set."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class SetsAnalysis:
    """What the runs on several data sets show.

    Attributes:
        analyses: the analysis of every data set by itself, by name.
        summaries: every method over all data sets, the best mean rank first.
        differences: every method on every data set.
        friedman: the test that no method differs from another; ``None`` for two methods.
        critical_difference: of mean ranks, by Nemenyi; ``None`` for two methods.
    """

    analyses: dict[str, Analysis]
    summaries: tuple[MethodOverSets, ...]
    differences: tuple[SetDifference, ...]
    friedman: Friedman | None
    critical_difference: float | None

    @property
    def measure(self) -> Measure:
        """What methods are compared by."""
        return next(iter(self.analyses.values())).record.data.measure

    @property
    def baseline(self) -> str:
        """The method that every other one is compared with."""
        return next(iter(self.analyses.values())).record.baseline

    @property
    def needed(self) -> int:
        """How many data sets the signed-rank test needs to find anything among these methods."""
        return _count_needed(len(self.summaries))

    @property
    def are_few(self) -> bool:
        """Whether there are too few data sets for a test over them."""
        return len(self.analyses) < self.needed

    def compare(self, method: str, other: str) -> float | None:
        """The p-value of the signed-rank test between two methods, not corrected."""
        return signed_rank_test(self._means[method] - self._means[other])

    @cached_property
    def _means(self) -> dict[str, FloatArray]:
        return collect_means(self.analyses)


def analyze_sets(analyses: Mapping[str, Analysis]) -> SetsAnalysis:
    """Compare methods over several data sets, all of which have runs of every method."""
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
    """The mean over the runs of every method, one for each data set."""
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
    """All differences from the baseline, with one correction over everything that is looked at."""
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
