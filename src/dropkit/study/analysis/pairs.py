"""Pair the runs of two methods by seed, and compute their differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dropkit.study.analysis.effect import Effect, count_freedom, measure_effect
from dropkit.study.analysis.welch import compare_unpaired
from dropkit.study.record import NUMBERS, Record, Run, unpack_rows
from dropkit.study.tasks import find_task

FloatArray = npt.NDArray[np.float64]


def pair_runs(record: Record, method: str, other: str) -> list[tuple[Run, Run]]:
    """Return pairs of finished runs of two methods by seed; empty if runs are not paired."""
    if not record.paired:
        return []
    theirs = {run.seed: run for run in record.of(other) if run.test}
    return [(run, theirs[run.seed]) for run in record.of(method) if run.test and run.seed in theirs]


def list_differences(record: Record, method: str) -> list[float]:
    """Return the metric minus the baseline's metric, for each seed with two finished runs."""
    pairs = pair_runs(record, method, record.baseline)
    return [a.test.value - b.test.value for a, b in pairs if a.test and b.test]


def fill_differences(record: Record, method: str) -> list[float] | None:
    """Return the differences for every seed; a diverged run scores as a constant prediction."""
    constant = record.data.constant_value
    theirs = {run.seed: run for run in record.of(record.baseline) if record.paired}
    pairs = [(run, theirs[run.seed]) for run in record.of(method) if run.seed in theirs]
    if constant is None or all(a.test and b.test for a, b in pairs):
        return None
    return [
        (a.test.value if a.test else constant) - (b.test.value if b.test else constant)
        for a, b in pairs
    ]


def measure_pair(record: Record, method: str, other: str) -> Effect | None:
    """Measure the effect of one method against another.

    The effect has no row variance if the runs have no row errors. It also has none if each run was
    tested on different rows, because then the variance over runs includes the variance over rows.
    """
    if not record.paired:
        return compare_unpaired(record, method, other)
    pairs = pair_runs(record, method, other)
    if not pairs:
        return None
    effect = measure_effect([a.test.value - b.test.value for a, b in pairs if a.test and b.test])
    effect = replace(effect, overlap=record.overlap)
    rows = None if record.overlap else _subtract_runs(record, pairs)
    if rows is None:
        return effect
    crossed = measure_effect(rows)
    are_errors = all(run.row_errors is not None for pair in pairs for run in pair)
    return replace(
        effect,
        row_variance=crossed.row_variance,
        rows=crossed.rows,
        row_freedom=None if are_errors else count_freedom(rows.mean(0)),
    )


def have_equal_rows(record: Record, method: str) -> bool:
    """Return whether a method's runs have the same error as the baseline's on every row.

    Different networks may have equal contributions to a metric, for example to the AUC if they rank
    all rows in the same order. So the scores of the runs must be equal, too.
    """
    pairs = pair_runs(record, method, record.baseline)
    return bool(pairs) and all(
        a.rows is not None and a.rows == b.rows and (a.row_errors is not None or a.test == b.test)
        for a, b in pairs
    )


def subtract_rows(ours: FloatArray, theirs: FloatArray, task: str) -> FloatArray:
    """Return the differences of row errors; their mean is the difference of the metric.

    The root mean squared error r is not a mean over rows. But r is the mean of (e/r + r)/2 over the
    squared errors e, and the standard error of this mean is the standard error of r to first order
    (delta method).

    Args:
        ours: errors of shape (..., rows): from 0 to 1 for classes and labels, squared errors for
            numbers.
        theirs: the errors of the other method.
        task: one of `dropkit.study.tasks.TASKS`.
    """
    if find_task(task).predicts == "numbers":
        ours, theirs = _linearize_root(ours), _linearize_root(theirs)
    return ours - theirs


def _subtract_runs(record: Record, pairs: list[tuple[Run, Run]]) -> FloatArray | None:
    """Return the differences of shape (seeds, rows); ``None`` if runs have no row errors."""
    count, task = record.data.rows_test, record.data.task
    matrix = np.empty((len(pairs), count))
    for differences, pair in zip(matrix, pairs, strict=True):
        if all(run.row_errors is not None for run in pair):
            ours, theirs = (unpack_rows(run.row_errors or "", task, count) for run in pair)
            differences[:] = subtract_rows(ours, theirs, task)
        elif all(run.contributions is not None for run in pair):
            ours, theirs = (unpack_rows(run.contributions or "", NUMBERS, count) for run in pair)
            differences[:] = ours - theirs
        else:
            return None
    return matrix


def _linearize_root(squared: FloatArray) -> FloatArray:
    root = np.sqrt(squared.mean(-1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(root > 0, (squared / root + root) / 2, squared)
