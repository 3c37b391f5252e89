"""How much of what one run is tested on another run is trained on."""

from __future__ import annotations

from dropkit.study.record.data import DataInfo


def measure_overlap(info: DataInfo, folds: int | None) -> float:
    """Return the test rows for each training row of a fold; 0 without folds.

    Validation rows are no training rows: a fifth of the rows for the test and a fifth for
    validation give 1/3.
    """
    return 0.0 if folds is None else info.rows_test / folds / info.rows_train
