"""Read and check predictions of any library as labels, probabilities or values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dropkit.errors import StudyError

Array = npt.NDArray[Any]

IGNORED = -100
"""The target of ignored tokens, as in ``torch.nn.CrossEntropyLoss``."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for all test rows, and their targets.

    Args:
        task: ``classification`` or ``regression``.
        targets: classes or values, of shape (rows,) or (rows, labels).
        labels: the predicted classes, with the shape of the targets; ``None`` for a regression.
        logits: logits of shape (rows, classes), or (rows, labels) for several labels per row;
            ``None`` if only labels are known.
        values: the predicted numbers of a regression, with the shape of the targets.
        independent: whether the rows are independent; tokens of one text are not.
    """

    task: str
    targets: Array
    labels: Array | None = None
    logits: Array | None = None
    values: Array | None = None
    independent: bool = True

    @property
    def several(self) -> bool:
        """Whether a row has several labels or values."""
        return self.targets.ndim > 1

    @property
    def probabilities(self) -> Array | None:
        """The probability of each class, or of each label."""
        if self.logits is None:
            return None
        if self.several:
            return _sigmoid(self.logits)
        powers = np.exp(self.logits - self.logits.max(1, keepdims=True))
        shares: Array = powers / powers.sum(1, keepdims=True)
        return shares


def read_predictions(predictions: Any, targets: Any, task: str | None = None) -> Predictions:
    """Read predictions in the usual forms of PyTorch.

    ===============================  ==================================  =======================
    targets                          predictions                         what it is
    ===============================  ==================================  =======================
    classes, (rows,)                 logits or probabilities, (rows, C)  classification
    classes, (rows,)                 classes, (rows,)                    classification
    0 and 1, (rows,)                 logits or probabilities, (rows,)    binary classification
    0 and 1, (rows, labels)          logits or probabilities, the same   several labels a row
    classes, (rows, tokens)          (rows, tokens, C), or classes       labels of tokens
    numbers, (rows,) or (rows, n)    numbers, the same                   regression
    ===============================  ==================================  =======================

    A last dimension of one is dropped. Tokens with target -100 are ignored.

    Raises:
        StudyError: the shapes do not match, or a prediction is NaN or infinite.
    """
    given, wanted = _to_array(predictions, "predictions"), _to_array(targets, "targets")
    given, wanted = _drop_last(given), _drop_last(wanted)
    if not len(wanted):
        raise StudyError("the Outcome has no test rows; give all targets and their predictions")
    if len(given) != len(wanted):
        raise StudyError(
            f"predictions and targets must be of the same test rows, got {len(given)} and "
            f"{len(wanted)}"
        )
    for name, array in (("predictions", given), ("targets", wanted)):
        _check_finite(array, name)
    task = task or _infer_task(given, wanted)
    if task == "regression":
        return _read_values(given, wanted)
    return _read_classes(given, wanted)


def _read_values(given: Array, wanted: Array) -> Predictions:
    if given.shape != wanted.shape or given.dtype.kind not in "fiub":
        raise StudyError(
            "a regression needs a number for each target, got predictions of shape "
            f"{given.shape} for targets of shape {wanted.shape}"
        )
    return Predictions("regression", wanted.astype(np.float64), values=given.astype(np.float64))


def _read_classes(given: Array, wanted: Array) -> Predictions:
    if wanted.dtype.kind == "f":
        wanted = wanted.astype(np.int64) if _is_whole(wanted) else wanted
    if wanted.dtype.kind == "f":
        raise StudyError("targets of a classification must be classes, got fractions")
    scored = given.dtype.kind == "f" and not (
        given.shape == wanted.shape and _are_classes(given, wanted)
    )
    by_token = given.ndim == wanted.ndim + 1 or (not scored and given.shape == wanted.shape)
    if wanted.ndim > 1 and by_token:
        counts = wanted != IGNORED
        return replace(_read_classes(given[counts], wanted[counts]), independent=False)
    if given.ndim == wanted.ndim + 1 == 2:
        return _with_logits(given.astype(np.float64), wanted)
    if _is_number(given) != _is_number(wanted):
        texts, numbers = (
            ("targets", "predictions") if _is_number(given) else ("predictions", "targets")
        )
        raise StudyError(
            f"the {texts} are text and the {numbers} are numbers, so that they are never equal; "
            "give both as numbers of classes, or both as text"
        )
    if given.shape != wanted.shape:
        raise StudyError(
            "predictions must be classes, or one logit or probability per class, got shape "
            f"{given.shape} for targets of shape {wanted.shape}"
        )
    if not scored:
        labels = given.astype(np.int64) if given.dtype.kind == "f" else given
        return Predictions("classification", wanted, labels=labels)
    if not _is_binary(wanted):
        raise StudyError(
            "predictions of one number a row are for targets 0 and 1; give one logit per class, "
            "of shape (rows, classes)"
        )
    scores = given.astype(np.float64)
    logits = _logit(scores) if _are_shares(scores) else scores
    labels = (logits > 0).astype(np.int64)
    if wanted.ndim == 1:
        logits = np.stack([np.zeros_like(logits), logits], 1)
    return Predictions("classification", wanted.astype(np.int64), labels=labels, logits=logits)


def _with_logits(given: Array, wanted: Array) -> Predictions:
    if wanted.dtype.kind not in "iub":
        raise StudyError(
            "logits need targets that are numbers of classes, 0 to classes - 1; got text. Encode "
            "them, or predict the classes themselves"
        )
    wanted = wanted.astype(np.int64)
    if wanted.min() < 0 or wanted.max() >= given.shape[1]:
        raise StudyError(
            f"targets must be classes from 0 to {given.shape[1] - 1}, as many as there are logits, "
            f"got {wanted.min()} to {wanted.max()}"
        )
    if _are_shares(given) and np.allclose(given.sum(1), 1, atol=1e-3):
        given = np.log(given.clip(np.finfo(np.float64).tiny))
    return Predictions("classification", wanted, labels=given.argmax(1), logits=given)


def _to_array(values: Any, name: str) -> Array:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        values = values.numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise StudyError(f"{name} must be an array, got rows of several lengths") from error
    if not array.ndim or (array.dtype == object and not _is_text(array)):
        raise StudyError(f"{name} must be an array of rows, got {type(values).__name__}")
    return array.astype(str) if array.dtype == object else array


def _drop_last(array: Array) -> Array:
    return array[..., 0] if array.ndim > 1 and array.shape[-1] == 1 else array


def _check_finite(array: Array, name: str) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
    if len(bad):
        raise StudyError(
            f"{name} are NaN or infinite in {len(bad)} of {len(array)} test rows, first in row "
            f"{bad[0] + 1}; look at what the model does with them"
        )


def _infer_task(given: Array, wanted: Array) -> str:
    if wanted.dtype.kind not in "f":
        one_number = given.shape == wanted.shape and given.dtype.kind == "f"
        fractions = one_number and not _is_whole(given)
        return "regression" if fractions and not _is_binary(wanted) else "classification"
    return "classification" if _is_binary(wanted) else "regression"


def _are_classes(given: Array, wanted: Array) -> bool:
    """Return whether predicted floats are classes: integers, and only 0 and 1 for such targets."""
    return _is_binary(given) if _is_binary(wanted) else _is_whole(given)


def _is_binary(array: Array) -> bool:
    return array.dtype.kind in "iubf" and bool(np.isin(array, (0, 1)).all())


def _is_whole(array: Array) -> bool:
    return bool((array == np.round(array)).all())


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "fiub"


def _are_shares(array: Array) -> bool:
    return bool(((array >= 0) & (array <= 1)).all())


def _logit(shares: Array) -> Array:
    tiny = np.finfo(np.float64).tiny
    found: Array = np.log(shares.clip(tiny)) - np.log((1 - shares).clip(tiny))
    return found


def _sigmoid(logits: Array) -> Array:
    found: Array = np.exp(-np.logaddexp(0.0, -logits))
    return found


def _is_text(array: Array) -> bool:
    return all(isinstance(value, str) for value in array.flat)
