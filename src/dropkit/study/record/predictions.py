"""What every training predicted for the test rows, kept beside the record.

One ``.npz`` file that NumPy reads: ``targets``, the classes as numbers or the values of the test
rows, and an array ``METHOD, seed SEED`` for every training, in the order of the rows: the
log-probabilities of the classes, or of each label to hold, or the predicted values. Several targets
have a column each.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Predictions:
    """The targets of the test rows, and what was predicted for them, by method and seed."""

    targets: Array
    predicted: dict[tuple[str, int], Array]

    @classmethod
    def of(cls, targets: Array, runs: Iterable[Run]) -> Predictions:
        """Collect what the trainings of a study hold."""
        kept = [run for run in runs if run.predictions is not None]
        return cls(targets, {(r.method, r.seed): unpack(r.predictions or "") for r in kept})

    def save(self, folder: Path) -> None:
        """Write the file into a run folder, whole or not at all."""
        out = io.BytesIO()
        arrays: dict[str, Any] = {"targets": self.targets}
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
            return cls(targets, {(method, int(seed)): a for (method, seed), a in split.items()})
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
