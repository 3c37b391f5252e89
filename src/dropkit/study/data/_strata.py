"""Rows that are alike in their target, to be divided in equal shares."""

from __future__ import annotations

import numpy as np

from dropkit.study.data._data import Array, Data

# A numeric target is cut into so many parts of equal size, which are then divided alike.
_QUANTILES = 10


def find_strata(y: Array, data: Data, fewest: int) -> Array | None:
    """The class of every row, or the quantile of its number; ``None`` for too few rows."""
    if data.task == "classification":
        return y
    parts = min(_QUANTILES, fewest, len(y) // 2)
    if parts < 2:
        return None
    rank = np.empty(len(y), np.int64)
    rank[np.argsort(y, kind="stable")] = np.arange(len(y))
    return rank * parts // len(y)
