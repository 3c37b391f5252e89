"""What every loader returns: features, target, and the remarks a reader should see."""

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
            are float64 (numbers) or object (text);
            missing values are NaN.
        y: int64 indices into ``classes``, or float64 values for a regression; of several targets
            an array of shape (rows, targets), for labels int64 of 0 and 1.
        task: one of `dropkit.study.tasks.TASKS`.
        classes: the labels in the order of their indices; empty for other tasks.
        target: name of what is predicted.
        X_test: features of the fixed test set, or ``None``.
        y_test: its target, or ``None``.
        notes: plain sentences on what was assumed or left out while loading.
        columns: how every column of a table was read; empty for arrays.
        key: the time of every row, or the number of its group, if rows are divided by it.
        key_name: the column that it comes from.
        val_rows: the row numbers of a fixed validation set, or ``None``.
        repeated: how many rows stand there more than once, or of a fixed test set also in ``X``.
        doubts: those so grave that no result holds, each with what to do.
        targets: the names of the columns of ``y``, where it has several.
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
        """How many rows are divided into parts, fixed validation rows among them."""
        return len(self.y)

    @property
    def rows_test(self) -> int | None:
        """How many rows a fixed test set has, or ``None``."""
        return None if self.y_test is None else len(self.y_test)

    def count_classes(self, test: bool = False) -> Array:
        """How many rows each class has, those of a fixed test set only if asked for."""
        y = np.concatenate([self.y, self.y_test]) if test and self.y_test is not None else self.y
        return np.bincount(y.astype(np.int64), minlength=len(self.classes))

    def target_range(self) -> tuple[float, float]:
        """The lowest and highest target, of a fixed test set also."""
        parts = [self.y, *([] if self.y_test is None else [self.y_test])]
        return min(float(y.min()) for y in parts), max(float(y.max()) for y in parts)

    def with_rows_read(self) -> Self:
        """The data with all that reading every row tells; these were read already."""
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the features, the target, their types and their order, in hexadecimal.

        What divides the rows is in it as well. The name and the notes are not in it: a renamed file
        is the same data.
        """
        digest = hashlib.sha256()
        named = (self.targets,) if self.targets else ()  # others keep the fingerprint they had
        digest.update(repr((self.task, self.classes, self.target, *named)).encode())
        parts = [self.X, self.y, self.X_test, self.y_test]
        # Only where there are such: data without them keep the fingerprint that they had.
        parts += [part for part in (self.key, self.val_rows) if part is not None]
        for part in parts:
            for piece in _content(part):
                digest.update(piece)
        return digest.hexdigest()


def _content(part: Any) -> Iterator[bytes]:
    """Bytes that two parts share only if they hold the same values in the same order."""
    if part is None:
        yield b"none;"
    elif isinstance(part, Inputs):
        for name, each in part.items():
            if len(part.parts) > 1:  # a lone one goes to the first parameter, whatever its name
                yield f"{name};".encode()
            yield from _content(each)
    elif isinstance(part, Sequences):
        yield from _content(part.lengths)
        yield from _content(part.taken())
    elif hasattr(part, "iloc"):
        import pandas as pd  # which is there already if the rows are a DataFrame

        yield repr((len(part), list(part.columns))).encode()
        for column in part:
            values = part[column]
            if pd.api.types.is_numeric_dtype(values):
                yield from _content(values.to_numpy(np.float64))
            else:
                yield repr([None if pd.isna(value) else value for value in values]).encode()
    else:
        # Little-endian whatever the machine, so that a fingerprint travels with the results.
        array = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
        yield repr((array.dtype.str, array.shape)).encode()
        yield array.tobytes()
