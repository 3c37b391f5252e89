"""The numbers of each method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import numpy.typing as npt

from dropkit.study.analysis.stats import Estimate, crossed_interval, estimate, holm, paired_test
from dropkit.study.analysis.target import Target, measure_target
from dropkit.study.analysis.welch import compare_unpaired
from dropkit.study.record import Record, Run, unpack_rows

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class MethodSummary:
    """One method over all seeds; every estimate has a 95 % interval over the seeds.

    Values are the study's measure: fractions of misclassified rows, or in the target's units. Pairs
    whose run, or whose baseline's run, diverged are left out of what compares them, and counted
    in ``diverged``.

    Attributes:
        value: the measure on the test rows.
        difference: value minus the baseline's of the same seed.
        p: of the paired t-test; ``p_holm`` corrected for the number of methods compared.
        new_rows: the difference once more, with an interval for other test rows as well.
        gap: value on the test rows minus that on the training rows.
        loss: test loss, the negative log-likelihood for classification.
        calibration: expected calibration error.
        target: updates and seconds to the baseline's best validation value.
        step_ratio: seconds per update, as a multiple of those of the baseline's run of the same
            seed, over the seeds in which both finished.
        time_ratio: likewise the seconds in total, their median.
        seconds: median of the total over finished runs.
    """

    method: str
    runs: int
    diverged: int
    value: Estimate | None
    difference: Estimate | None
    p: float | None
    p_holm: float | None
    new_rows: Estimate | None
    gap: Estimate | None
    loss: Estimate | None
    calibration: Estimate | None
    target: Target
    step_ratio: Estimate | None
    time_ratio: float | None
    seconds: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the measure differs significantly from the baseline's."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


def summarize(record: Record) -> tuple[MethodSummary, ...]:
    """The numbers of every method, in the order of ``record.methods``."""
    baseline = {run.seed: run for run in record.of(record.baseline) if run.status == "finished"}
    if not record.paired:
        baseline = {}
    summaries = [_summarize_method(record, method, baseline) for method in record.methods]
    if not record.paired:
        summaries = [_compare_unpaired(record, summary) for summary in summaries]
    compared = [summary for summary in summaries if summary.method != record.baseline]
    corrected = holm([summary.p for summary in compared])
    p_of = {s.method: p for s, p in zip(compared, corrected, strict=True)}
    return tuple(replace(summary, p_holm=p_of.get(summary.method)) for summary in summaries)


def _summarize_method(record: Record, method: str, baseline: dict[int, Run]) -> MethodSummary:
    runs = record.of(method)
    finished = [run for run in runs if run.status == "finished"]
    tests = [run.test for run in finished if run.test]
    paired = [(run, baseline[run.seed]) for run in runs if run.seed in baseline]
    both = [(run, base) for run, base in paired if run.status == "finished"]
    compared = both if method != record.baseline else []
    differences = [a.test.value - b.test.value for a, b in compared if a.test and b.test]
    total = _divide_seconds(both, lambda run: run.timing.seconds)
    return MethodSummary(
        method=method,
        runs=len(runs),
        diverged=len(runs) - len(finished),
        value=estimate([test.value for test in tests]),
        difference=estimate(differences),
        p=paired_test(differences),
        p_holm=None,
        new_rows=_estimate_on_new_rows(record, compared) if compared else None,
        gap=estimate([r.test.value - r.train.value for r in finished if r.test and r.train]),
        loss=estimate([test.loss for test in tests if test.loss is not None]),
        calibration=estimate([t.calibration for t in tests if t.calibration is not None]),
        target=measure_target(paired, record.data.measure),
        step_ratio=estimate(_divide_seconds(both, lambda run: run.timing.seconds_per_step)),
        time_ratio=median(total) if total else None,
        seconds=median(run.timing.seconds for run in finished) if finished else None,
    )


def _compare_unpaired(record: Record, summary: MethodSummary) -> MethodSummary:
    """Return the summary with the difference from the baseline that runs without pairs show."""
    if summary.method == record.baseline:
        return summary
    found = compare_unpaired(record, summary.method, record.baseline)
    return summary if found is None else replace(summary, difference=found.difference, p=found.p)


def _estimate_on_new_rows(record: Record, pairs: list[tuple[Run, Run]]) -> Estimate | None:
    """The difference with the sampling of test rows counted.

    The root mean squared error r is no mean over rows, but r = mean((e/r + r)/2) over squared
    errors e, and the spread of those terms is that of r to first order (delta method).
    """
    count, task = record.data.rows_test, record.data.task
    matrix = np.empty((len(pairs), count))
    for differences, pair in zip(matrix, pairs, strict=True):
        if any(run.row_errors is None for run in pair):
            return None
        ours, base = (unpack_rows(run.row_errors or "", task, count) for run in pair)
        if task == "regression":
            ours, base = _linearize_root(ours), _linearize_root(base)
        np.subtract(ours, base, out=differences)
    return crossed_interval(matrix)


def _linearize_root(squared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    root = math.sqrt(squared.mean())
    return (squared / root + root) / 2 if root > 0 else squared


def _divide_seconds(pairs: list[tuple[Run, Run]], seconds: Callable[[Run], float]) -> list[float]:
    return [seconds(run) / seconds(base) for run, base in pairs if seconds(base) > 0]
