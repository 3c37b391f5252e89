"""Rows that stand in the data more than once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from dropkit.study.data._data import Array, Data
from dropkit.study.inputs import Inputs

D = TypeVar("D", bound=Data)

# A smaller share of the rows hardly moves a score.
_FEW = 0.01
# A larger share decides which method looks best: that which remembers rows.
_MANY = 0.05
# So many rows, or a few times as many, tell the share of repeats in data of any size.
_WATCHED = 100_000
_NONE = np.array([], np.uint64)

# Rows for each distinct one from which these are few possible ones, and no copies.
_POSSIBLE = 8


def with_repeats_told(data: Data) -> Data:
    """The data with the number of rows that stand there twice, and a note if they are many.

    They are test rows that are training rows as well, or may be once the rows are divided. Rows
    are equal if their features and their target are. Many copies put all results in doubt, but not
    if each row stands there so often that it is one of few possible ones.
    """
    test = None if data.X_test is None else _hashes(data.X_test, data.y_test)
    return _tell_repeats(data, _hashes(data.X, data.y), test)


class RepeatCounter:
    """Counts rows that stand in data more than once as the data are read, in bounded memory.

    Of the values that rows may have it watches every so many, all copies of each, so that their
    share is that of all rows.

    Args:
        rows: how many rows there are.
        test: the first row of a fixed test set, if there is one.
    """

    def __init__(self, rows: int, test: int | None) -> None:
        self.rows, self.test = rows, rows if test is None else test
        self._every = -(-rows // _WATCHED)
        self._seen, self._kept, self._kept_test = 0, _NONE, _NONE

    def see(self, X: Any, y: Array) -> None:
        """Look at the next rows."""
        hashes = _stable_hashes(X, y)
        is_test = np.arange(self._seen, self._seen + len(hashes)) >= self.test
        is_watched = hashes % self._every == 0
        self._kept = np.append(self._kept, hashes[is_watched & ~is_test])
        self._kept_test = np.append(self._kept_test, hashes[is_watched & is_test])
        self._seen += len(hashes)

    def tell(self, data: D) -> D:
        """The data with what was counted, as `with_repeats_told` tells it."""
        has_test = self.test < self.rows
        total = self.rows - self.test if has_test else self.rows
        return _tell_repeats(data, self._kept, self._kept_test if has_test else None, total)


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


def _tell_repeats(data: D, rows: Array, test: Array | None, total: int | None = None) -> D:
    """Tell of repeats among the hashes of rows, or those of ``total`` rows of which these are."""
    if test is None:
        there, repeated = rows, pd.Series(rows).duplicated(keep=False).to_numpy()
        said = "rows are in the data more than once; copies may end up in both training and test"
    else:
        there, repeated = test, np.isin(test, rows)
        said = "test rows are also in the training data, which makes the scores too good"
    if not len(there):
        return data
    total = len(there) if total is None else total
    count = round(float(repeated.mean()) * total)
    return _tell(replace(data, repeated=count), there, repeated, said, total)


def _tell(data: D, rows: Array, repeated: Array, said: str, total: int | None = None) -> D:
    """Note that some rows repeat, or doubt all results, by how many there are."""
    share = float(repeated.mean())
    if share <= _FEW:
        return data
    total = len(repeated) if total is None else total
    about = "" if total == len(repeated) else "about "
    note = f"{about}{round(share * total)} of {total} {said}"
    distinct = len(np.unique(rows[repeated]))
    if share <= _MANY or len(rows) > _POSSIBLE * distinct:
        return replace(data, notes=(*data.notes, note))
    doubt = f"{note}: remove them to compare methods"
    return replace(data, doubts=(*data.doubts, doubt))


def _stable_hashes(X: Any, y: Array) -> Array:
    """The same as `_hashes`, equal in every process."""
    if isinstance(X, pd.DataFrame):
        return _hashes(X, y)
    rows = (row.tobytes() + value.tobytes() for row, value in zip(X, y, strict=True))
    short = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(short, np.uint64)


def _hashes(X: Any, y: Any) -> Array:
    """One number per row; that two rows share one by chance is all but impossible."""
    if isinstance(X, pd.DataFrame):
        columns = [pd.Series(column, X.index) for column in np.atleast_2d(y.T)]
        table = pd.concat([X, *columns], axis=1)
        return np.asarray(pd.util.hash_pandas_object(table, index=False))
    if isinstance(X, Inputs):
        rows = zip(*(map(_bytes, part) for part in X.parts.values()), _values(y), strict=True)
        return np.array([hash(row) for row in rows])
    return np.array(
        [hash((row.tobytes(), value)) for row, value in zip(X, _values(y), strict=True)]
    )


def _values(y: Array) -> list[Any]:
    """What the rows are to be told apart by, as values that can be hashed."""
    return y.tolist() if y.ndim == 1 else [row.tobytes() for row in y]


def _bytes(row: Any) -> bytes:
    """Bytes that two rows of an array, or two sequences, share only if they are equal."""
    return row.tobytes()  # type: ignore[no-any-return]
