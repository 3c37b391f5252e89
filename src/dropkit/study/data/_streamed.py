"""Split data that do not fit in memory, but are read in pieces and stored on the disk.

The number of training rows is not limited. Validation and test rows are at most `LIMIT` each.
Preprocessing is fitted to at most `LIMIT` training rows; only these training rows are scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._repeats import RepeatCounter
from dropkit.study.data._split import TEST_SEED, count_share

LIMIT = 100_000
"""The largest number of validation rows, of test rows, and of training rows that are scored."""

_PIECE = 250_000  # targets to read at a time


@dataclass(frozen=True, eq=False)
class StreamedData(Data):
    """Data whose rows are on the disk.

    Args:
        X: a `StoredTable` or `StoredArray`.
        y: a `StoredArray` with as many rows.
        fixed: the row numbers of the fixed parts ``val`` and ``test``, which come last.
        odd: notes on surprising rows; complete after all rows were read.
        repeats: the counter of repeated rows; complete after all rows were read.
    """

    fixed: Mapping[str, range] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    repeats: RepeatCounter | None = None

    @property
    def rows(self) -> int:
        return len(self.y) - len(self.fixed.get("test", ()))

    @property
    def rows_test(self) -> int | None:
        return len(self.fixed["test"]) if "test" in self.fixed else None

    @property
    def free(self) -> int:
        """The number of rows that belong to no fixed part."""
        return len(self.y) - sum(map(len, self.fixed.values()))

    def count_classes(self, test: bool = False) -> Array:
        return self._count(len(self.y) if test else self.rows)

    def target_range(self) -> tuple[float, float]:
        ends = [(float(y.min()), float(y.max())) for y in self._pieces(len(self.y))]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def with_rows_read(self) -> Self:
        _ = self.X.digest
        data = replace(self, notes=(*self.notes, *dict.fromkeys(self.odd)), odd=[])
        return data if self.repeats is None else self.repeats.tell(data)

    @cached_property
    def fingerprint(self) -> str:
        parts = self.task, self.classes, self.target, self.X.digest, self.y.digest  # type: ignore[attr-defined]
        fixed = sorted((name, rows.start, rows.stop) for name, rows in self.fixed.items())
        return hashlib.sha256(repr((*parts, fixed)).encode()).hexdigest()

    def _count(self, rows: int) -> Array:
        counts = np.zeros(len(self.classes), np.int64)
        for y in self._pieces(rows):
            counts += np.bincount(y, minlength=len(counts))
        return counts

    def _pieces(self, rows: int) -> Iterator[Array]:
        for start in range(0, rows, _PIECE):
            yield self.y.take(np.arange(start, min(rows, start + _PIECE)))


class Rest:
    """All of the first ``count`` rows except those in ``without``.

    >>> rest = Rest(6, np.array([1, 4]))
    >>> len(rest), rest.numbers(np.arange(4)).tolist()
    (4, [0, 2, 3, 5])
    """

    def __init__(self, count: int, without: Array) -> None:
        self.count, self.without = count, np.sort(without)
        # The number of remaining rows before each row that is left out.
        self._before = self.without - np.arange(len(self.without))

    def __len__(self) -> int:
        return self.count - len(self.without)

    def numbers(self, positions: Array) -> Array:
        """Return the row numbers at these positions among the remaining rows."""
        return positions + np.searchsorted(self._before, positions, side="right")

    def draw(self, count: int, seed: int) -> Array:
        """Return the numbers of ``count`` random rows, in random order."""
        rng = np.random.default_rng(seed)
        return self.numbers(rng.choice(len(self), min(count, len(self)), replace=False))


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Row numbers of validation and test rows; all other rows are for training."""

    train: Rest
    val: Array
    test: Array


def split_streamed(
    data: StreamedData, *, seed: int, val_fraction: float, test_fraction: float
) -> StreamedSplit:
    """Split rows at random, with at most `LIMIT` validation rows and `LIMIT` test rows.

    As with rows in memory, the test rows do not depend on the seed. The split is not stratified,
    because random parts of this size have nearly equal shares of each class.

    Raises:
        DataError: there are too few rows, or a class has no training rows.
    """
    left = Rest(data.free, np.array([], np.int64))
    parts: dict[str, Array] = {}
    for part, fraction, drawn_by in (
        ("test", test_fraction, TEST_SEED),
        ("val", val_fraction, seed),
    ):
        if (fixed := data.fixed.get(part)) is not None:
            found = Rest(len(fixed), np.array([], np.int64)).draw(LIMIT, TEST_SEED) + fixed.start
        else:
            found = left.draw(min(LIMIT, count_share(data.free, fraction)), drawn_by)
            left = Rest(data.free, np.concatenate([left.without, found]))
        parts[part] = np.sort(found)
    if len(left) < 2:
        raise DataError(f"{data.name} has {data.free} rows, too few to train on")
    if data.classes:
        counts = data._count(data.free) - np.bincount(
            data.y.take(left.without), minlength=len(data.classes)
        )
        if not counts.all():
            label = data.classes[int(counts.argmin())]
            raise DataError(
                f"no row of class {label!r} is left to train on: add rows, remove the class, or "
                "merge it with another"
            )
    return StreamedSplit(left, parts["val"], parts["test"])
