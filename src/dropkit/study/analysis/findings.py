"""Sort the methods of a study into better, worse and undecided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.family import SIGNIFICANCE, are_different
from dropkit.study.analysis.pairs import measure_pair
from dropkit.study.analysis.power import find_detectable, find_seeds, upper_spread
from dropkit.study.analysis.summary import MethodSummary, count_compared, knows_rows
from dropkit.study.analysis.worthwhile import choose_threshold
from dropkit.study.record import Measure, Record


@dataclass(frozen=True)
class Plan:
    """The statistical power of a study.

    Attributes:
        seeds: the number of pairs of runs; with folds, of repetitions.
        detectable: the difference that these seeds detect with 80 % power.
        aim: a smaller difference that matters.
        needed: number of seeds that detects ``aim`` with 80 % power; ``None`` if no number of seeds
            suffices with these test rows.
    """

    seeds: int
    detectable: float
    aim: float | None
    needed: int | None


@dataclass(frozen=True)
class Findings:
    """The compared methods, sorted by the outcome of their tests.

    Attributes:
        better: significantly better than the baseline on new test rows, the best first.
        better_here: significantly better only on these test rows.
        worse: significantly worse, possibly only on these test rows.
        open: neither better nor worse.
        threshold: the smallest difference that matters; ``None`` if unknown.
    """

    record: Record
    baseline: Baseline
    better: list[MethodSummary]
    better_here: list[MethodSummary]
    worse: list[MethodSummary]
    open: list[MethodSummary]
    threshold: float | None

    @property
    def all(self) -> list[MethodSummary]:
        """All compared methods."""
        return self.better + self.better_here + self.worse + self.open

    @property
    def measure(self) -> Measure:
        """The metric by which methods are compared."""
        return self.record.data.measure

    @cached_property
    def family(self) -> int:
        """The number of compared methods, including earlier studies in the folder."""
        return count_compared(self.record)

    @cached_property
    def has_rows(self) -> bool:
        """Whether the tests can account for other test rows."""
        return knows_rows(self.record)

    @cached_property
    def best(self) -> MethodSummary | None:
        """The method with the largest clear gain that is significant on new test rows.

        The method's interval is corrected for all methods, as if its p-value were the smallest.
        """

        def is_clear(summary: MethodSummary) -> bool:
            p = summary.claim.p if summary.claim else None
            return p is not None and p * self.family < SIGNIFICANCE

        return next(filter(is_clear, self.better), next(iter(self.better), None))

    def is_negligible(self, summary: MethodSummary) -> bool:
        """Return whether a difference is shown to be too small to matter.

        Either the interval of the difference is within the threshold, or the method's predictions
        equal the baseline's.
        """
        if summary.is_identical:
            return True
        found = summary.claim.estimate if summary.claim else None
        if self.threshold is None or found is None or found.low is None or found.high is None:
            return False
        return -self.threshold < found.low and found.high < self.threshold

    def is_small(self, summary: MethodSummary) -> bool:
        """Return whether the mean difference is below the smallest difference that matters."""
        difference = summary.difference
        if self.threshold is None or difference is None:
            return False
        return abs(difference.mean) < self.threshold

    def list_rivals(self, best: MethodSummary) -> list[MethodSummary]:
        """Return the methods that do not differ significantly from the best one."""
        new_rows, rivals = best.is_significant and self.has_rows, []
        for other in self.better + self.better_here + self.open:
            if other is best:
                continue
            effect = measure_pair(self.record, best.method, other.method)
            if effect is None or not are_different(effect, self.family + 1, new_rows=new_rows):
                rivals.append(other)
        return rivals

    @cached_property
    def largest_open(self) -> MethodSummary | None:
        """The method with the largest difference that is not significant."""

        def size(summary: MethodSummary) -> float:
            return abs(summary.difference.mean) if summary.difference else 0.0

        return max(self.open, key=size, default=None)

    @cached_property
    def plan(self) -> Plan | None:
        """Compute the difference that these seeds detect, and the seeds for a smaller one."""
        some = self.open or self.all  # plan for differences that are not significant yet
        effects = [s.effect for s in some if s.effect is not None]
        spreads = [e.seed_variance for e in effects if e.seed_variance is not None]
        if not spreads or self._has_fixed_folds:
            return None
        runs = min(e.seeds for e in effects if e.seed_variance is not None)
        spread = upper_spread(fmean(spreads) ** 0.5, runs)
        rows = fmean([e.row_variance or 0.0 for e in effects])
        test = self._describe_test(rows)
        detectable = find_detectable(spread, runs, **test)
        aim = self.threshold if self.threshold and self.threshold < detectable else None
        needed = find_seeds(aim, spread, **test) if aim else None
        more = None if needed is None else self._count_repetitions(needed)
        return Plan(self._count_repetitions(runs), detectable, aim, more)

    @property
    def _has_fixed_folds(self) -> bool:
        """Return whether the runs were imported with folds; then no runs can be added."""
        return bool(self.record.overlap) and self.record.folds is None

    def _describe_test(self, row_variance: float) -> dict[str, float]:
        """Return the arguments of the power functions that describe the test."""
        level, overlap = SIGNIFICANCE / self.family, self.record.overlap
        return {"row_variance": row_variance, "overlap": overlap, "level": level}

    def _count_repetitions(self, runs: int) -> int:
        """Convert a number of runs to seeds or, with folds, to repetitions."""
        return math.ceil(runs / (self.record.folds or 1))

    def count_needed(self, summary: MethodSummary) -> int | None:
        """Return the repetitions that detect the observed difference with 80 % power.

        Return ``None`` if no number of seeds suffices with these test rows, or if the variance is
        unknown.
        """
        effect = summary.effect
        if effect is None or not effect.seed_variance or not effect.mean or self._has_fixed_folds:
            return None
        spread = upper_spread(effect.seed_variance**0.5, effect.seeds)
        test = self._describe_test(effect.row_variance or 0.0)
        needed = find_seeds(abs(effect.mean), spread, **test)
        return None if needed is None else self._count_repetitions(needed)


def sort_findings(
    record: Record, summaries: Sequence[MethodSummary], baseline: Baseline
) -> Findings:
    """Sort the methods into groups by their tests, the best first in each group."""
    cost = record.data.measure.cost

    def gain(summary: MethodSummary) -> float:
        assert summary.difference is not None, "only methods with pairs are compared"
        return -cost(summary.difference.mean)

    known = sorted((s for s in summaries if s.difference is not None), key=gain, reverse=True)
    better = [s for s in known if s.is_significant_here and gain(s) > 0]
    return Findings(
        record=record,
        baseline=baseline,
        better=[s for s in better if s.is_significant],
        better_here=[s for s in better if not s.is_significant],
        worse=[s for s in known if s.is_significant_here and gain(s) < 0],
        open=[s for s in known if not s.is_significant_here],
        threshold=choose_threshold(record, baseline.value),
    )
