"""What every training predicted for the test rows, kept beside the record.

One ``.npz`` file that NumPy reads: ``targets``, the classes as numbers or the values of the test
rows, and an array ``METHOD, seed SEED`` for every training, in the order of the rows: the
log-probabilities of the classes, or of each label to hold, or the predicted values. Several targets
have a column each. With folds, ``targets`` has all rows, and an array ``rows, seed SEED`` the
numbers, from 0, of those that were tested with that seed.
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
from dropkit.study.record.runs import Run

Array = npt.NDArray[Any]

FILE = "predictions.npz"
MOST = 500_000
"""Of more numbers than this in one training no predictions are kept: 2 MB."""


_ROWS = "rows"


@dataclass(frozen=True, eq=False)
class Tested:
    """What a study is tested on.

    Args:
        targets: the classes as numbers, or the values, of the test rows.
        find_rows: returns the numbers of the rows that are tested with a seed; ``None`` if all are.
    """

    targets: Array
    find_rows: Callable[[int], Array] | None = None


@dataclass(frozen=True, eq=False)
class Predictions:
    """The targets of the test rows, and what was predicted for them, by method and seed.

    ``rows`` has the numbers of the rows that were tested with a seed, where not all are.
    """

    targets: Array
    predicted: dict[tuple[str, int], Array]
    rows: dict[int, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, tested: Tested, runs: Iterable[Run]) -> Predictions:
        """Collect what the trainings of a study hold."""
        kept = [run for run in runs if run.predictions is not None]
        predicted = {(r.method, r.seed): unpack(r.predictions or "") for r in kept}
        if tested.find_rows is None:
            return cls(tested.targets, predicted)
        rows = {seed: tested.find_rows(seed) for seed in dict.fromkeys(r.seed for r in kept)}
        return cls(tested.targets, predicted, rows)

    def targets_of(self, seed: int) -> Array:
        """The targets of the rows that were tested with a seed."""
        rows = self.rows.get(seed)
        return self.targets if rows is None else self.targets[rows]

    def save(self, folder: Path) -> None:
        """Write the file into a run folder, whole or not at all."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {"targets": self.targets}
        arrays |= {f"{_ROWS}, seed {seed}": rows for seed, rows in self.rows.items()}
        arrays |= {f"{method}, seed {seed}": a for (method, seed), a in self.predicted.items()}
        np.savez_compressed(out, **arrays)
        write_atomic(folder / FILE, out.getvalue())

    @classmethod
    def find(cls, folder: Path) -> Predictions | None:
        """Read the file of a run folder, ``None`` if there is none that can be read."""
        try:
            return cls.load(folder)
        except StudyError:
            return None

    @classmethod
    def load(cls, folder: Path) -> Predictions:
        """Read the file of a run folder; `StudyError` if there is none, or it is damaged."""
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
    """Write predictions as text that is short; ``None`` if there are too many.

    >>> unpack(pack(np.array([[0.5, 1.5]]))).tolist()
    [[0.5, 1.5]]
    """
    if predicted.size > MOST:
        return None
    out = io.BytesIO()
    np.save(out, np.asarray(predicted, dtype="<f4"), allow_pickle=False)
    return base64.b64encode(out.getvalue()).decode("ascii")


def unpack(text: str) -> Array:
    """Read what `pack` wrote; `ValueError` if it is not that."""
    found: Array = np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)
    return found
