"""Define `Data`, which every loader returns: features, target and notes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.reading import ColumnReading
from dropkit.study.tasks import Task

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Data:
    """Rows of features with a target, and a fixed test set if the source has one.

    Args:
        name: what to call the data in tables and reports.
        X: features, one row per example: an array of shape (rows, features) or (rows, channels,
            height, width), `Inputs` of several arrays or of sequences, or a DataFrame whose columns
            are float64 (numbers) or object (text). Missing values are NaN.
        y: int64 indices into ``classes``, or float64 values for a regression. Several targets have
            the shape (rows, targets); several labels are int64 of 0 and 1.
        task: one of `dropkit.study.tasks.TASKS`.
        classes: the labels in the order of their indices; empty for other tasks.
        target: name of what is predicted.
        X_test: features of the fixed test set, or ``None``.
        y_test: the target of the fixed test set, or ``None``.
        notes: sentences about what was assumed or left out while loading.
        columns: how every column of a table was read; empty for arrays.
        key: the time or the group number of every row, for a split by time or by group.
        key_name: the column that holds ``key``.
        val_rows: the row numbers of a fixed validation set, or ``None``.
        repeated: number of rows that are in the data more than once; with a fixed test set, number
            of test rows that are also in ``X``.
        doubts: notes about problems that make every result unreliable, each with its fix.
        targets: the names of the columns of ``y``, if there are several.
    """

    name: str
    X: Any
    y: Array
    task: Task
    classes: tuple[str, ...]
    target: str
    X_test: Any = None
    y_test: Array | None = None
    notes: tuple[str, ...] = ()
    columns: tuple[ColumnReading, ...] = ()
    key: Array | None = None
    key_name: str = ""
    val_rows: Array | None = None
    repeated: int = 0
    doubts: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows that are split into parts, including fixed validation rows."""
        return len(self.y)

    @property
    def rows_test(self) -> int | None:
        """The number of rows of the fixed test set, or ``None``."""
        return None if self.y_test is None else len(self.y_test)

    def count_classes(self, test: bool = False) -> Array:
        """Count the rows of each class; include a fixed test set if ``test`` is true."""
        y = np.concatenate([self.y, self.y_test]) if test and self.y_test is not None else self.y
        return np.bincount(y.astype(np.int64), minlength=len(self.classes))

    def target_range(self) -> tuple[float, float]:
        """The lowest and highest target, including a fixed test set."""
        parts = [self.y, *([] if self.y_test is None else [self.y_test])]
        return min(float(y.min()) for y in parts), max(float(y.max()) for y in parts)

    def with_rows_read(self) -> Self:
        """Return the data after reading every row; here all rows are read already."""
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the features, the target, their types and their order, in hexadecimal.

        The fingerprint includes the key that splits the rows. It excludes the name and the notes,
        so that a renamed file has the same fingerprint.
        """
        digest = hashlib.sha256()
        # An empty tuple keeps the fingerprint that data with one target had in earlier versions.
        named = (self.targets,) if self.targets else ()
        digest.update(repr((self.task, self.classes, self.target, *named)).encode())
        parts = [self.X, self.y, self.X_test, self.y_test]
        # Added only if they exist, so that other data keep the fingerprint of earlier versions.
        parts += [part for part in (self.key, self.val_rows) if part is not None]
        for part in parts:
            for piece in _content(part):
                digest.update(piece)
        return digest.hexdigest()


def _content(part: Any) -> Iterator[bytes]:
    """Yield bytes that are equal for two parts only if they hold the same values in order."""
    if part is None:
        yield b"none;"
    elif isinstance(part, Inputs):
        for name, each in part.items():
            if len(part.parts) > 1:  # the name of a single input does not matter
                yield f"{name};".encode()
            yield from _content(each)
    elif isinstance(part, Sequences):
        yield from _content(part.lengths)
        yield from _content(part.taken())
    elif hasattr(part, "iloc"):
        import pandas as pd  # imported already if the rows are a DataFrame

        yield repr((len(part), list(part.columns))).encode()
        for column in part:
            values = part[column]
            if pd.api.types.is_numeric_dtype(values):
                yield from _content(values.to_numpy(np.float64))
            else:
                yield repr([None if pd.isna(value) else value for value in values]).encode()
    else:
        # Little-endian on every machine, so that the fingerprint is the same everywhere.
        array = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
        yield repr((array.dtype.str, array.shape)).encode()
        yield array.tobytes()
