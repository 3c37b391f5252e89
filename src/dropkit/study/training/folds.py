"""The rows of one seed: split, preprocessed on its training part alone, as tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dropkit.study.answers import answers_of
from dropkit.study.config import Study
from dropkit.study.data import Data, Preprocessor, Split, measure_units, split
from dropkit.study.inputs import LENGTHS, AnyRows, Inputs, cut, shape_of, to_tensors
from dropkit.study.metrics import choose_metric, compute_kept
from dropkit.study.record import Scores
from dropkit.study.seeds import Seeds
from dropkit.study.shapes import Shape
from dropkit.study.tasks import TASKS
from dropkit.study.training.scoring import score


@dataclass(frozen=True, eq=False)
class Fold:
    """Inputs and targets of the three parts.

    Inputs are a tensor, or `Inputs` of several.

    ``center`` and ``scale`` are the training targets' mean and standard deviation in their own
    units (0 and 1 for classes and labels), of several one each. ``units`` are what errors of
    several targets are measured in: their standard deviations over all rows but the test rows,
    which are the same for every seed. ``metric`` is what outputs are scored by in the place of the
    error or the RMSE.
    """

    task: str
    outputs: int
    scale: float | Tensor
    x_train: Any
    y_train: Tensor
    x_val: Any
    y_val: Tensor
    x_test: Any
    y_test: Tensor
    center: float | Tensor = 0.0
    metric: str | None = None
    units: tuple[float, ...] = ()

    @property
    def inputs(self) -> Shape:
        """The shape of one input row."""
        return shape_of(self.x_train)

    def rows(self, part: str) -> Any:
        """The inputs of ``train``, ``val`` or ``test``."""
        return {"train": self.x_train, "val": self.x_val, "test": self.x_test}[part]

    def target(self, part: str) -> Tensor:
        """The targets of ``train``, ``val`` or ``test``."""
        return {"train": self.y_train, "val": self.y_val, "test": self.y_test}[part]

    def score(self, outputs: Tensor, part: str) -> tuple[Scores, npt.NDArray[np.float64] | None]:
        """Score the outputs for ``train``, ``val`` or ``test``; see `scoring.score`.

        A metric that is asked for takes the place of the error or the RMSE; it is not made of rows,
        and has no errors of theirs.
        """
        scale = (
            self.scale / torch.tensor(self.units, dtype=torch.float64) if self.units else self.scale
        )
        is_test = part == "test"
        scores, rows = score(outputs, self.target(part), self.task, scale, simulate=is_test)
        if self.metric is None or self.metric in ("error", "rmse"):
            return scores, rows
        if not outputs.isfinite().all():  # of a training that diverged
            return replace(scores, value=math.nan), None
        metric = choose_metric(self.metric, self.task)
        value = compute_kept(metric, self.own_targets(part), self.predict(outputs), self.units)
        return replace(scores, value=value), None

    def predict(self, outputs: Tensor) -> npt.NDArray[np.float64]:
        """Log-probabilities of the classes, or of each label to hold, or values in their units."""
        predicted = answers_of(self.task).predict(outputs.double())
        if TASKS[self.task].predicts == "numbers":
            shape = len(outputs), *self.y_train.shape[1:]
            predicted = predicted.reshape(shape) * self.scale + self.center
        return predicted.numpy()

    def own_targets(self, part: str) -> npt.NDArray[Any]:
        """The classes as numbers, labels as 0 and 1, or the values in their own units."""
        if TASKS[self.task].predicts != "numbers":
            return self.target(part).numpy()
        return (self.target(part).double() * self.scale + self.center).numpy()


_BLOCK = 4096  # rows whose sequences are padded at once

_LAST: dict[tuple[object, ...], Fold] = {}
"""The last fold, which the next training often shares."""


def load_fold(data: Data, study: Study, seed: int) -> Fold:
    """Return the fold of a seed, made unless it was the last one.

    It is kept without the rows: the driver waits for a worker that holds them.
    """
    split_by = study.split, seed, study.val_fraction, study.test_fraction
    key = data.fingerprint, study.preprocess, study.metric, *split_by
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = make_fold(data, study, seed)
    return _LAST[key]


def forget_fold() -> None:
    """Free the memory of the last fold, where other processes train."""
    _LAST.clear()


def split_rows(data: Data, study: Study, seed: int) -> Split:
    """Divide the rows for ``seed`` as the study asks for."""
    return split(
        data,
        seed=Seeds(seed).split,
        val_fraction=study.val_fraction,
        test_fraction=study.test_fraction,
        by=study.split,
    )


def make_fold(data: Data, study: Study, seed: int) -> Fold:
    """Split the data for ``seed`` and fit the preprocessing on its training rows."""
    parts = split_rows(data, study, seed)
    X, y = data.X, data.y
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    preprocessor = Preprocessor(study.preprocess).fit(take(parts.train), y[parts.train])
    if parts.test is None:
        X_test, y_test = data.X_test, data.y_test
    else:
        X_test, y_test = take(parts.test), y[parts.test]

    units: tuple[float, ...] = ()
    if data.task == "multi-output":
        rows = np.sort(np.concatenate([parts.train, parts.val]))
        units = tuple(measure_units(y[rows]).tolist())

    def inputs(rows: Any) -> Any:
        return to_tensors(preprocessor.transform(rows))

    def target(values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(preprocessor.target(values)))

    return Fold(
        task=data.task,
        outputs=len(data.classes) or len(data.targets) or 1,
        center=_to_tensor(preprocessor.target_mean),
        scale=_to_tensor(preprocessor.target_scale),
        x_train=inputs(take(parts.train)),
        y_train=target(y[parts.train]),
        x_val=inputs(take(parts.val)),
        y_val=target(y[parts.val]),
        x_test=inputs(X_test),
        y_test=target(y_test),
        metric=study.metric,
        units=units,
    )


def _to_tensor(number: Any) -> float | Tensor:
    return number if isinstance(number, float) else torch.from_numpy(number)


def find_largest(fold: Fold) -> Iterator[AnyRows]:
    """Find rows with the largest whole numbers of every part, for each input that holds such."""
    parts = fold.x_train, fold.x_val, fold.x_test
    if not isinstance(fold.x_train, Inputs):
        if not fold.x_train.is_floating_point():
            yield torch.stack([rows[rows.flatten(1).amax(1).argmax()] for rows in parts])
        return
    for name, values in fold.x_train[:2].padded().items():
        if values.is_floating_point() or values.dtype == torch.bool or name.endswith(LENGTHS):
            continue
        for rows in parts:
            blocks = (block.padded().parts[name] for block in cut(rows, _BLOCK))
            largest = torch.cat([block.reshape(len(block), -1).amax(1) for block in blocks])
            yield rows[largest.topk(min(2, len(largest))).indices]
