"""Compute the ratio of test rows to training rows, on which tests with folds depend."""

from __future__ import annotations

from dropkit.study.record.data import DataInfo


def measure_overlap(info: DataInfo, folds: int | None) -> float:
    """Return the ratio of test rows to training rows in a fold; 0 without folds.

    Validation rows do not count as training rows. If the test and validation rows are a fifth of
    the rows each, the ratio is 1/3.
    """
    return 0.0 if folds is None else info.rows_test / folds / info.rows_train
