"""Store rows in files on the disk, and read any of them."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Array
from dropkit.study.data._scratch import Scratch, refuse_writing

Pieces: TypeAlias = Callable[[], Iterator[Any]]
"""A function that yields all rows in order, in pieces: DataFrames or arrays."""

# The largest number of different words of a feature; later words count as rare.
_MOST_WORDS = 65_536
_OTHER = "other words"


class _Stored(ABC):
    """Rows that are written when they are first needed; then any process can read them."""

    shape: tuple[int, ...]

    def __init__(self, scratch: Scratch, pieces: Pieces) -> None:
        self.scratch = scratch
        self._pieces: Pieces | None = pieces

    def __len__(self) -> int:
        return self.shape[0]

    def __getstate__(self) -> dict[str, Any]:
        _ = self.digest  # write the rows here, before another process reads them
        return self.__dict__ | {"_pieces": None}

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of all rows; writes the rows if they are not written yet."""


class StoredArray(_Stored):
    """The rows of an array, in a file.

    Args:
        scratch: the folder of the file.
        name: what to call the file.
        rows: how many rows there are.
        like: one row or more of the same shape and type.
        pieces: yields the rows; called once, when they are first needed.
    """

    def __init__(self, scratch: Scratch, name: str, rows: int, like: Array, pieces: Pieces) -> None:
        super().__init__(scratch, pieces)
        self.name, self.dtype = name, like.dtype
        self.shape = (rows, *like.shape[1:])

    @property
    def row_bytes(self) -> int:
        """How many bytes a row takes."""
        size: int = math.prod(self.shape[1:]) * self.dtype.itemsize
        return size

    def take(self, rows: Array) -> Array:
        """Read some rows by their numbers."""
        _ = self.digest
        return _read(self.scratch.path, self.name, rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows."""
        assert self._pieces is not None
        columns = {self.name: (self.shape, self.dtype)}
        written = ({self.name: piece} for piece in self._pieces())
        digest = _write(self.scratch.path, columns, written)
        self._pieces = None
        return digest


class StoredTable(_Stored):
    """The rows of a DataFrame, with one file for numbers and one for words.

    Args:
        scratch: the folder of the files.
        rows: how many rows there are.
        like: a DataFrame with the same columns, which are float64 or text.
        pieces: yields the rows; called once, when they are first needed.
    """

    def __init__(self, scratch: Scratch, rows: int, like: pd.DataFrame, pieces: Pieces) -> None:
        super().__init__(scratch, pieces)
        self.columns = tuple(map(str, like.columns))
        self.texts = tuple(name for name in self.columns if like[name].dtype == object)
        self.numbers = tuple(name for name in self.columns if name not in set(self.texts))
        self.shape = (rows, len(self.columns))
        self._words: dict[str, dict[str, int]] = {name: {} for name in self.texts}

    @property
    def row_bytes(self) -> int:
        """How many bytes a row takes."""
        return 8 * len(self.numbers) + 4 * len(self.texts)

    def take(self, rows: Array) -> pd.DataFrame:
        """Read some rows by their numbers."""
        _ = self.digest
        made: dict[str, Any] = {}
        for file, names in (("numbers", self.numbers), ("words", self.texts)):
            if names:
                found = _read(self.scratch.path, file, rows)
                made |= dict(zip(names, found.T, strict=True))
        for name in self.texts:
            made[name] = pd.Series(self._spellings[name][made[name]], dtype=object)
        return pd.DataFrame({name: made[name] for name in self.columns}, index=range(len(rows)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all rows."""
        assert self._pieces is not None
        columns: dict[str, Any] = {}
        if self.numbers:
            columns["numbers"] = ((len(self), len(self.numbers)), np.dtype(np.float64))
        if self.texts:
            columns["words"] = ((len(self), len(self.texts)), np.dtype(np.int32))
        digest = _write(self.scratch.path, columns, map(self._encode, self._pieces()))
        self._pieces = None
        return hashlib.sha256(repr((digest, self._words)).encode()).hexdigest()

    @cached_property
    def _spellings(self) -> dict[str, Array]:
        """Return the words of each column by code; the last two are for rare and missing words."""
        return {
            name: np.array([*words, _OTHER, np.nan], object) for name, words in self._words.items()
        }

    def _encode(self, piece: pd.DataFrame) -> dict[str, Array]:
        made = {"numbers": piece[list(self.numbers)].to_numpy(np.float64)} if self.numbers else {}
        if self.texts:
            made["words"] = np.column_stack([self._codes(name, piece[name]) for name in self.texts])
        return made

    def _codes(self, name: str, values: pd.Series) -> Array:
        index, found = pd.factorize(values.to_numpy(object))  # -1 for missing
        known = self._words[name]
        for word in found:
            if len(known) < _MOST_WORDS:
                known.setdefault(word, len(known))
        codes = [known.get(word, -2) for word in found]
        found_codes: Array = np.array([*codes, -1], np.int32)[index]
        return found_codes


def _read(folder: Path, name: str, rows: Array) -> Array:
    """Read some rows of a file; neighbouring rows are read together.

    The file is not mapped into memory, because Linux maps up to megabytes around each page. A
    process that reads scattered rows would seem to hold the whole file in memory.
    """
    path = folder / f"{name}.npy"
    order = np.argsort(rows, kind="stable")
    ascending = rows[order]
    try:
        with path.open("rb", buffering=0) as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            begin, size = file.tell(), math.prod(shape[1:]) * dtype.itemsize
            found = np.empty((len(rows), *shape[1:]), dtype)
            if not len(rows):
                return found
            content = found.data.cast("B")
            start = 0
            for end in [*np.flatnonzero(np.diff(ascending) != 1) + 1, len(rows)]:
                file.seek(begin + int(ascending[start]) * size)
                part = content[start * size : end * size]
                while part:
                    if not (count := file.readinto(part)):
                        raise DataError(f"{path} was cut off while it was in use; start again")
                    part = part[count:]
                start = end
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; start again") from error
    result = np.empty_like(found)
    result[order] = found
    return result


def _write(folder: Path, columns: dict[str, Any], pieces: Iterator[dict[str, Array]]) -> str:
    """Write arrays piece by piece, each to its own file, and return their SHA-256."""
    digests = {name: hashlib.sha256(repr(kind).encode()) for name, kind in columns.items()}
    rows = next(iter(columns.values()))[0][0]
    count = 0
    for name, (shape, dtype) in columns.items():
        with _writing(folder, name, "wb") as file:
            header = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
    for piece in pieces:
        for name, array in piece.items():
            content = np.ascontiguousarray(array).data
            digests[name].update(content)
            with _writing(folder, name, "ab") as file:
                file.write(content)
        count += len(array)
    if count != rows:
        raise DataError(f"the data changed while they were read: {count} rows in place of {rows}")
    return "-".join(digest.hexdigest() for digest in digests.values())


@contextmanager
def _writing(folder: Path, name: str, mode: str) -> Iterator[IO[bytes]]:
    try:
        with (folder / f"{name}.npy").open(mode) as file:
            yield file
    except OSError as error:
        raise refuse_writing(folder, error) from error
