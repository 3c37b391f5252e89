"""Split the rows for one seed, fit preprocessing on the training rows, and make tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dropkit.errors import DataError
from dropkit.study.answers import answers_of
from dropkit.study.config import Study
from dropkit.study.data import (
    LIMIT,
    Data,
    Preprocessor,
    Split,
    StreamedData,
    StreamedSplit,
    measure_units,
    split,
    split_streamed,
)
from dropkit.study.inputs import LENGTHS, AnyRows, Inputs, cut, shape_of, to_tensors
from dropkit.study.metrics import choose_metric, compute_kept, contribute_kept
from dropkit.study.record import NUMBERS, Scores, pack_rows
from dropkit.study.seeds import Seeds
from dropkit.study.shapes import Shape
from dropkit.study.tasks import TASKS
from dropkit.study.training.batches import Batches
from dropkit.study.training.ranks import ALONE, Rank
from dropkit.study.training.scoring import score
from dropkit.study.training.streamed import StreamedBatches, StreamedRows, StreamedTraining


@dataclass(frozen=True, eq=False)
class Fold:
    """Inputs and targets of the training, validation and test rows of one run.

    Inputs are a tensor or, for several inputs, `Inputs`.

    ``center`` and ``scale`` are the mean and standard deviation of the training targets in their
    own units, with one value per target; for classes and labels, ``center`` is 0 and ``scale`` 1.
    Errors of several targets are divided by ``units``: the standard deviations of the targets over
    all rows except test rows or, with folds, over all rows. So ``units`` is the same for every
    seed. ``metric`` is the metric to use in place of the error or the RMSE.

    If data are read in pieces, ``training`` holds all training rows, and ``x_train`` holds some of
    them. Inputs are then `StreamedRows`, which are indexed by slices like tensors.
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
    training: StreamedTraining | None = None

    @property
    def inputs(self) -> Shape:
        """The shape of one input row."""
        return shape_of(self.x_train)

    @property
    def rows_train(self) -> int:
        """The number of training rows."""
        return len(self.y_train if self.training is None else self.training)

    def batches(self, size: int, seed: int, rank: Rank = ALONE) -> Batches:
        """Return the batches of training rows, in a new random order every pass."""
        if self.training is None:
            return Batches(self.x_train, self.y_train, size, seed, rank)
        return StreamedBatches(self.training, size, seed, rank)

    def rows(self, part: str) -> Any:
        """Return the inputs of ``train``, ``val`` or ``test``."""
        return {"train": self.x_train, "val": self.x_val, "test": self.x_test}[part]

    def target(self, part: str) -> Tensor:
        """Return the targets of ``train``, ``val`` or ``test``."""
        return {"train": self.y_train, "val": self.y_val, "test": self.y_test}[part]

    def score(
        self, outputs: Tensor, part: str, *, simulate: bool = False
    ) -> tuple[Scores, npt.NDArray[np.float64] | None]:
        """Score the outputs for ``train``, ``val`` or ``test``; see `scoring.score`.

        If the study sets another metric than the error or the RMSE, the score is that metric, and
        no row errors are returned.
        """
        scale = (
            self.scale / torch.tensor(self.units, dtype=torch.float64) if self.units else self.scale
        )
        scores, rows = score(outputs, self.target(part), self.task, scale, simulate=simulate)
        if self.metric is None or self.metric in ("error", "rmse"):
            return scores, rows
        if not outputs.isfinite().all():  # the training diverged
            return replace(scores, value=math.nan), None
        metric = choose_metric(self.metric, self.task)
        value = compute_kept(metric, self.own_targets(part), self.predict(outputs), self.units)
        return replace(scores, value=value), None

    def pack_contributions(self, outputs: Tensor) -> str | None:
        """Return the packed contributions of test rows, or ``None`` for the error and the RMSE."""
        if self.metric is None or self.metric in ("error", "rmse"):
            return None
        metric = choose_metric(self.metric, self.task)
        predicted = self.predict(outputs)
        rows = contribute_kept(metric, self.own_targets("test"), predicted, self.units)
        return pack_rows(rows, NUMBERS)

    def predict(self, outputs: Tensor) -> npt.NDArray[np.float64]:
        """Return log-probabilities of classes or labels, or values in the units of the target."""
        predicted = answers_of(self.task).predict(outputs.double())
        if TASKS[self.task].predicts == "numbers":
            shape = len(outputs), *self.y_train.shape[1:]
            predicted = predicted.reshape(shape) * self.scale + self.center
        return predicted.numpy()

    def own_targets(self, part: str) -> npt.NDArray[Any]:
        """Return targets as class numbers, labels of 0 and 1, or values in their own units."""
        if TASKS[self.task].predicts != "numbers":
            return self.target(part).numpy()
        return (self.target(part).double() * self.scale + self.center).numpy()


_BLOCK = 4096  # rows whose sequences are padded at a time

_LAST: dict[tuple[object, ...], Fold] = {}
"""The fold of the last run, because the next run often needs the same fold."""


def load_fold(data: Data, study: Study, seed: int) -> Fold:
    """Return the fold of a seed; the last fold is cached.

    The cache does not refer to ``data``, so that the rows can be freed.
    """
    split_by = study.split, seed, study.val_fraction, study.test_share, study.folds
    key = data.fingerprint, study.preprocess, study.metric, *split_by
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = make_fold(data, study, seed)
    return _LAST[key]


def forget_fold() -> None:
    """Free the memory of the cached fold; call it if other processes do the training."""
    _LAST.clear()


def split_rows(data: Data, study: Study, seed: int) -> Split | StreamedSplit:
    """Split the rows for ``seed`` by the settings of the study."""
    if not isinstance(data, StreamedData):
        return split_in_memory(data, study, seed)
    if study.folds is not None:
        raise DataError("folds need all rows in memory; read them at once with --no-stream")
    return _split_streamed_rows(data, study, seed)


def split_in_memory(data: Data, study: Study, seed: int) -> Split:
    """Split rows that are in memory."""
    return split(
        data,
        seed=Seeds(seed).split,
        val_fraction=study.val_fraction,
        test_fraction=study.test_fraction,
        by=study.split,
        folds=study.folds,
    )


def make_fold(data: Data, study: Study, seed: int) -> Fold:
    """Split the data for ``seed`` and fit the preprocessing on its training rows."""
    if isinstance(data, StreamedData):
        return _make_streamed_fold(data, study, seed)
    parts = split_in_memory(data, study, seed)
    X, y = data.X, data.y
    take = X.iloc.__getitem__ if hasattr(X, "iloc") else X.__getitem__
    preprocessor = Preprocessor(study.preprocess).fit(take(parts.train), y[parts.train])
    X_test = data.X_test if parts.test is None else take(parts.test)

    def inputs(rows: Any) -> Any:
        return to_tensors(preprocessor.transform(rows))

    return replace(
        make_targets(data, study, parts, preprocessor),
        x_train=inputs(take(parts.train)),
        x_val=inputs(take(parts.val)),
        x_test=inputs(X_test),
    )


def make_targets(
    data: Data, study: Study, parts: Split, fitted: Preprocessor | None = None
) -> Fold:
    """Return a fold without features, which is enough to score a constant prediction.

    The target is scaled by ``fitted``, or by a preprocessor that is fitted here.
    """
    y = data.y
    units: tuple[float, ...] = ()
    if data.task == "multi-output":
        rows = np.sort(np.concatenate([parts.train, parts.val]))
        if study.folds is not None:  # all rows, so that units are equal in every fold
            rows = np.arange(len(y))
        units = tuple(measure_units(y[rows]).tolist())
    y_test = data.y_test if parts.test is None else y[parts.test]
    fitted = fitted or Preprocessor().fit_target(y[parts.train])
    fold = _scale_targets(data, study, fitted, y[parts.train], y[parts.val], y_test)
    return replace(fold, units=units)


def _scale_targets(
    data: Data, study: Study, fitted: Preprocessor, y_train: Any, y_val: Any, y_test: Any
) -> Fold:
    """Return a fold of these targets, without features."""

    def target(values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(fitted.target(values)))

    none = torch.empty(0)
    return Fold(
        task=data.task,
        outputs=len(data.classes) or len(data.targets) or 1,
        center=_to_tensor(fitted.target_mean),
        scale=_to_tensor(fitted.target_scale),
        x_train=none,
        y_train=target(y_train),
        x_val=none,
        y_val=target(y_val),
        x_test=none,
        y_test=target(y_test),
        metric=study.metric,
    )


def _to_tensor(number: Any) -> float | Tensor:
    return number if isinstance(number, float) else torch.from_numpy(number)


# The largest size, in bytes, of the training rows to which preprocessing is fitted.
_FITTED = 1 << 27


def _split_streamed_rows(data: StreamedData, study: Study, seed: int) -> StreamedSplit:
    return split_streamed(
        data,
        seed=Seeds(seed).split,
        val_fraction=study.val_fraction,
        test_fraction=study.test_fraction,
    )


def _make_streamed_fold(data: StreamedData, study: Study, seed: int) -> Fold:
    """Make the fold of data that are read in pieces, with a sample of the training rows."""
    parts, X, y = _split_streamed_rows(data, study, seed), data.X, data.y
    some = parts.train.draw(LIMIT, Seeds(seed).split)
    fitted = np.sort(some[: max(1, _FITTED // max(1, X.row_bytes))])
    preprocessor = Preprocessor().fit(X.take(fitted), y.take(fitted))

    def inputs(numbers: npt.NDArray[np.int64]) -> Any:
        return StreamedRows(X, numbers, preprocessor)

    some = np.sort(some)
    rows = inputs(some)
    targets = map(y.take, (some, parts.val, parts.test))
    return replace(
        _scale_targets(data, study, preprocessor, *targets),
        x_train=rows,
        x_val=inputs(parts.val),
        x_test=inputs(parts.test),
        training=StreamedTraining(X, y, parts.train, preprocessor, rows.at_once),  # type: ignore[arg-type]
    )


def find_largest(fold: Fold) -> Iterator[AnyRows]:
    """Yield, for each input of integers, the rows of every part that hold the largest integers."""
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
