"""Rows that stand in the data more than once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array, Data

# A smaller share of the rows hardly moves a score.
_FEW = 0.01


def with_repeats_told(data: Data) -> Data:
    """The data with the number of rows that stand there twice, and a note if they are many.

    They are test rows that are training rows as well, or may be once the rows are divided. Rows
    are equal if their features and their target are.
    """
    rows = _hashes(data.X, data.y)
    if data.X_test is None:
        repeated = pd.Series(rows).duplicated(keep=False).to_numpy()
        said = "rows stand in the data more than once; equal ones may meet in training and test"
    else:
        repeated = np.isin(_hashes(data.X_test, data.y_test), rows)
        said = "test rows also stand in the training data, which flatters the score"
    count = int(repeated.sum())
    notes = (f"{count} of {len(repeated)} {said}",) if repeated.mean() > _FEW else ()
    return replace(data, notes=data.notes + notes, repeated=count)


def _hashes(X: Any, y: Any) -> Array:
    """One number per row; that two rows share one by chance is all but impossible."""
    if isinstance(X, pd.DataFrame):
        table = pd.concat([X, pd.Series(y, X.index)], axis=1)
        return np.asarray(pd.util.hash_pandas_object(table, index=False))
    return np.array(
        [hash((row.tobytes(), value)) for row, value in zip(X, y.tolist(), strict=True)]
    )
