"""Find rows that are in the data more than once."""

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

# A smaller share of repeated rows hardly changes a score.
_FEW = 0.01
# With a larger share, the method that memorizes rows looks best.
_MANY = 0.05
# About this many watched rows are enough to estimate the share of repeats in large data.
_WATCHED = 100_000
_NONE = np.array([], np.uint64)

# With more rows per distinct row than this, only few different rows are possible, and equal rows
# are not copies.
_POSSIBLE = 8


def add_repeat_doubts(data: Data) -> Data:
    """Add the number of repeated rows to the data, and a note or doubt if there are many.

    With a fixed test set, the test rows that are also in the training data are counted. Otherwise
    all rows with copies are counted, because the split may put copies into training and test. Rows
    are equal if their features and targets are equal. Many copies make all results unreliable,
    unless only few different rows are possible.
    """
    test = None if data.X_test is None else _hashes(data.X_test, data.y_test)
    return _note_repeats(data, _hashes(data.X, data.y), test)


class RepeatCounter:
    """Count repeated rows while data are read, in bounded memory.

    The counter draws some of the possible values of a row at random, and watches all copies. So
    the share of repeated rows in the sample estimates the share in all rows.

    Args:
        rows: number of rows.
        test: the first row of a fixed test set, or ``None``.
    """

    def __init__(self, rows: int, test: int | None) -> None:
        self.rows, self.test = rows, rows if test is None else test
        self._every = -(-rows // _WATCHED)
        self._seen, self._kept, self._kept_test = 0, _NONE, _NONE

    def see(self, X: Any, y: Array) -> None:
        """Count the next rows."""
        hashes = _stable_hashes(X, y)
        is_test = np.arange(self._seen, self._seen + len(hashes)) >= self.test
        is_watched = hashes % self._every == 0
        self._kept = np.append(self._kept, hashes[is_watched & ~is_test])
        self._kept_test = np.append(self._kept_test, hashes[is_watched & is_test])
        self._seen += len(hashes)

    def tell(self, data: D) -> D:
        """Add the count to the data, as `add_repeat_doubts` does."""
        has_test = self.test < self.rows
        total = self.rows - self.test if has_test else self.rows
        return _note_repeats(data, self._kept, self._kept_test if has_test else None, total)


def add_leak_doubts(data: Data, folds: Sequence[tuple[Array, Array | None]]) -> Data:
    """Note how many rows are equal to a training row of the fold that tests them, if many are.

    This replaces the note of `add_repeat_doubts`, which does not know the folds. Copies that are
    always in one part, for example in one group, do no harm.

    Args:
        data: the data, without a fixed test set.
        folds: the numbers of training and test rows of every fold of a repetition.
    """
    rows, told = _hashes(data.X, data.y), add_repeat_doubts(replace(data, notes=(), doubts=()))
    leaked = np.zeros(len(rows), bool)
    for train, test in folds:
        leaked[test] = np.isin(rows[test], rows[train])
    data = replace(
        data,
        notes=tuple(note for note in data.notes if note not in told.notes),
        doubts=tuple(doubt for doubt in data.doubts if doubt not in told.doubts),
    )
    return _note(
        data,
        rows,
        leaked,
        "rows are also among the training rows of the folds that test "
        "them, which makes the scores too good",
    )


def _note_repeats(data: D, rows: Array, test: Array | None, total: int | None = None) -> D:
    """Note repeats among the hashes of rows, which may be a sample of ``total`` rows."""
    if test is None:
        there, repeated = rows, pd.Series(rows).duplicated(keep=False).to_numpy()
        finding = "rows are in the data more than once; copies may end up in both training and test"
    else:
        there, repeated = test, np.isin(test, rows)
        finding = "test rows are also in the training data, which makes the scores too good"
    if not len(there):
        return data
    total = len(there) if total is None else total
    count = round(float(repeated.mean()) * total)
    return _note(replace(data, repeated=count), there, repeated, finding, total)


def _note(data: D, rows: Array, repeated: Array, finding: str, total: int | None = None) -> D:
    """Add a note on repeated rows, or a doubt if there are many of them."""
    share = float(repeated.mean())
    if share <= _FEW:
        return data
    total = len(repeated) if total is None else total
    about = "" if total == len(repeated) else "about "
    note = f"{about}{round(share * total)} of {total} {finding}"
    distinct = len(np.unique(rows[repeated]))
    if share <= _MANY or len(rows) > _POSSIBLE * distinct:
        return replace(data, notes=(*data.notes, note))
    doubt = f"{note}: remove them to compare methods"
    return replace(data, doubts=(*data.doubts, doubt))


def _stable_hashes(X: Any, y: Array) -> Array:
    """Hash rows as `_hashes` does, with equal results in every process."""
    if isinstance(X, pd.DataFrame):
        return _hashes(X, y)
    rows = (row.tobytes() + value.tobytes() for row, value in zip(X, y, strict=True))
    short = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(short, np.uint64)


def _hashes(X: Any, y: Any) -> Array:
    """Return one hash per row; two different rows practically never share one."""
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
    """Return the target of each row as a hashable value."""
    return y.tolist() if y.ndim == 1 else [row.tobytes() for row in y]


def _bytes(row: Any) -> bytes:
    """Return bytes that are equal for two rows or sequences only if the rows are equal."""
    return row.tobytes()  # type: ignore[no-any-return]
