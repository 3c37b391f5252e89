"""Rows that stand in the data more than once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array, Data

# A smaller share of the rows hardly moves a score.
_FEW = 0.01
# A larger share decides which method looks best: that which remembers rows.
_MANY = 0.05
# Rows for each distinct one from which these are few possible ones, and no copies.
_POSSIBLE = 8


def with_repeats_told(data: Data) -> Data:
    """The data with the number of rows that stand there twice, and a note if they are many.

    They are test rows that are training rows as well, or may be once the rows are divided. Rows
    are equal if their features and their target are. Many copies put all results in doubt, but not
    if each row stands there so often that it is one of few possible ones.
    """
    rows = _hashes(data.X, data.y)
    if data.X_test is None:
        there, repeated = rows, pd.Series(rows).duplicated(keep=False).to_numpy()
        said = "rows stand in the data more than once; equal ones may meet in training and test"
    else:
        there = _hashes(data.X_test, data.y_test)
        repeated = np.isin(there, rows)
        said = "test rows also stand in the training data, which flatters the score"
    return _tell(replace(data, repeated=int(repeated.sum())), there, repeated, said)


def with_leaks_told(data: Data, folds: Sequence[tuple[Array, Array | None]]) -> Data:
    """The data with the number of rows whose fold is trained on equal ones, if they are many.

    That takes the place of what `with_repeats_told` noted, before anyone knew how the rows would
    be divided: copies that are always in one part, as in one group, do no harm.

    Args:
        data: the data, without a fixed test set.
        folds: the row numbers that are trained and tested on, of every fold of a repetition.
    """
    rows, told = _hashes(data.X, data.y), with_repeats_told(replace(data, notes=(), doubts=()))
    leaked = np.zeros(len(rows), bool)
    for train, test in folds:
        leaked[test] = np.isin(rows[test], rows[train])
    data = replace(
        data,
        notes=tuple(note for note in data.notes if note not in told.notes),
        doubts=tuple(doubt for doubt in data.doubts if doubt not in told.doubts),
    )
    return _tell(
        data,
        rows,
        leaked,
        "rows also stand in the training rows of the folds that test "
        "them, which flatters the score",
    )


def _tell(data: Data, rows: Array, repeated: Array, said: str) -> Data:
    """Note that some rows repeat, or doubt all results, by how many there are."""
    if repeated.mean() <= _FEW:
        return data
    note = f"{int(repeated.sum())} of {len(repeated)} {said}"
    distinct = len(np.unique(rows[repeated]))
    if repeated.mean() <= _MANY or len(rows) > _POSSIBLE * distinct:
        return replace(data, notes=(*data.notes, note))
    doubt = f"{note}: remove them, or no method can be judged"
    return replace(data, doubts=(*data.doubts, doubt))


def _hashes(X: Any, y: Any) -> Array:
    """One number per row; that two rows share one by chance is all but impossible."""
    if isinstance(X, pd.DataFrame):
        columns = [pd.Series(column, X.index) for column in np.atleast_2d(y.T)]
        table = pd.concat([X, *columns], axis=1)
        return np.asarray(pd.util.hash_pandas_object(table, index=False))
    return np.array(
        [hash((row.tobytes(), value)) for row, value in zip(X, _values(y), strict=True)]
    )


def _values(y: Array) -> list[Any]:
    """What the rows are to be told apart by, as values that can be hashed."""
    return y.tolist() if y.ndim == 1 else [row.tobytes() for row in y]
