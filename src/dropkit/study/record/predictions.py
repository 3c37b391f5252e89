"""Store the predictions of every run for the test rows, in a file beside the record.

The file is an ``.npz`` archive. Its array ``targets`` holds the class numbers or values of the test
rows. For every run, an array ``METHOD, seed SEED`` holds predictions in the order of the rows:
log-probabilities of the classes or labels, or predicted values. Several targets have one column
each. With folds, ``targets`` holds all rows, and an array ``rows, seed SEED`` holds the numbers,
from 0, of the rows tested with that seed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dropkit.errors import StudyError
from dropkit.files import write_atomic
from dropkit.study.record.rows import shorten
from dropkit.study.record.runs import Run

Array = npt.NDArray[Any]

FILE = "predictions.npz"
MOST = 500_000
"""The largest number of predicted values of a run that are saved, 2 to 4 MB."""


_ROWS = "rows"


@dataclass(frozen=True, eq=False)
class Tested:
    """The test rows of a study.

    Args:
        targets: the class numbers or values of the test rows.
        find_rows: returns the numbers of the rows that a seed tests; ``None`` if every seed tests
            all rows.
    """

    targets: Array
    find_rows: Callable[[int], Array] | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """The targets of the test rows, and the predictions by method and seed.

    ``rows`` holds the numbers of the rows that a seed tested, for seeds that did not test all rows.
    """

    targets: Array
    predicted: dict[tuple[str, int], Array]
    rows: dict[int, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, tested: Tested, runs: Iterable[Run]) -> Predictions:
        """Collect the predictions of runs."""
        kept = [run for run in runs if run.predictions is not None]
        predicted = {(r.method, r.seed): unpack(r.predictions or "") for r in kept}
        if tested.find_rows is None:
            return cls(tested.targets, predicted)
        rows = {seed: tested.find_rows(seed) for seed in dict.fromkeys(r.seed for r in kept)}
        return cls(tested.targets, predicted, rows)

    def targets_of(self, seed: int) -> Array:
        """Return the targets of the rows that a seed tested."""
        rows = self.rows.get(seed)
        return self.targets if rows is None else self.targets[rows]

    def save(self, folder: Path) -> None:
        """Write the file atomically into a run folder."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {"targets": self.targets}
        arrays |= {f"{_ROWS}, seed {seed}": rows for seed, rows in self.rows.items()}
        arrays |= {f"{method}, seed {seed}": a for (method, seed), a in self.predicted.items()}
        np.savez_compressed(out, **arrays)
        write_atomic(folder / FILE, out.getvalue())

    @classmethod
    def find(cls, folder: Path) -> Predictions | None:
        """Read the file of a run folder; return ``None`` if it is missing or unreadable."""
        try:
            return cls.load(folder)
        except StudyError:
            return None

    @classmethod
    def load(cls, folder: Path) -> Predictions:
        """Read the file of a run folder; raise `StudyError` if it is missing or damaged."""
        try:
            with np.load(folder / FILE, allow_pickle=False) as file:
                arrays = dict(file)
            targets = arrays.pop("targets")
            split = {name.rpartition(", seed ")[::2]: array for name, array in arrays.items()}
            named = {(name, int(seed)): a for (name, seed), a in split.items()}
            rows = {seed: a for (name, seed), a in named.items() if name == _ROWS}
            return cls(targets, {key: a for key, a in named.items() if key[0] != _ROWS}, rows)
        except FileNotFoundError:
            raise StudyError(
                f"{folder} has no predictions, which only studies of the built-in training with at "
                f"most {MOST:,} numbers each keep; compare again with --metric"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise StudyError(f"cannot read {folder / FILE}: {error}") from error


def pack(predicted: Array) -> str | None:
    """Encode predictions as short text; return ``None`` if there are too many.

    >>> unpack(pack(np.array([[0.5, 1.5]]))).tolist()
    [[0.5, 1.5]]
    """
    if predicted.size > MOST:
        return None
    out = io.BytesIO()
    np.save(out, shorten(predicted), allow_pickle=False)
    return base64.b64encode(out.getvalue()).decode("ascii")


def unpack(text: str) -> Array:
    """Decode text from `pack`; raise `ValueError` for other text."""
    found: Array = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    return found
