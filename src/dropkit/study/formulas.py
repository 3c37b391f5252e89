"""Compute metrics from targets and predictions.

Functions that end in ``_rows`` return one number per row; the metric is their mean.

scikit-learn is imported only by the metrics that need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def error_rows(targets: Array, labels: Array) -> Array:
    """Return 1 for rows with the wrong class, otherwise 0; with labels, the share of wrong ones."""
    return over_labels(labels != targets)


def subset_error_rows(targets: Array, labels: Array) -> Array:
    """Return whether any label of each row is wrong."""
    wrong: Array = (labels != targets).any(1).astype(float)
    return wrong


def accuracy_rows(targets: Array, labels: Array) -> Array:
    return over_labels(labels == targets)


def over_labels(each: Array) -> Array:
    """Return the mean of each row over its labels or outputs, if there are several."""
    found: Array = each.reshape(len(each), -1).mean(1)
    return found


def balanced_error(targets: Array, labels: Array) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return 1 - float(balanced_accuracy_score(targets, labels))


def f1(average: str, targets: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(targets, labels, average=average, zero_division=0))


def auc(targets: Array, probabilities: Array) -> float:
    """Return the area under the ROC curve, averaged over three or more classes or over labels."""
    from sklearn.metrics import roc_auc_score

    if targets.ndim == 1 and probabilities.shape[1] == 2:
        return float(roc_auc_score(targets, probabilities[:, 1]))
    return float(roc_auc_score(one_hot(targets, probabilities), probabilities, average="macro"))


def average_precision(targets: Array, probabilities: Array) -> float:
    from sklearn.metrics import average_precision_score

    if targets.ndim == 1 and probabilities.shape[1] == 2:
        return float(average_precision_score(targets, probabilities[:, 1]))
    return float(average_precision_score(one_hot(targets, probabilities), probabilities))


def log_loss_rows(targets: Array, probabilities: Array) -> Array:
    """Return the negative log-likelihood of each row; with several labels, their mean."""
    tiny = np.finfo(np.float64).tiny
    if targets.ndim == 1:
        found: Array = -np.log(of_target(targets, probabilities).clip(tiny))
        return found
    likely = np.where(targets == 1, probabilities, 1 - probabilities)
    return over_labels(-np.log(likely.clip(tiny)))


def perplexity(targets: Array, probabilities: Array) -> float:
    return math.exp(log_loss_rows(targets, probabilities).mean())


def brier_rows(targets: Array, probabilities: Array) -> Array:
    """Return each row's squared errors: their sum over three or more classes, else their mean."""
    squared = (probabilities - one_hot(targets, probabilities)) ** 2
    if targets.ndim == 1 and probabilities.shape[1] > 2:
        found: Array = squared.sum(1)
        return found
    return over_labels(squared)


def rmse(targets: Array, values: Array) -> float:
    return float(np.sqrt(np.mean((values - targets) ** 2)))


def mae_rows(targets: Array, values: Array) -> Array:
    return over_labels(np.abs(values - targets))


def r2(targets: Array, values: Array) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(targets, values))


def pinball_rows(targets: Array, values: Array, quantile: float = 0.5) -> Array:
    above = targets - values
    return over_labels(np.maximum(quantile * above, (quantile - 1) * above))


def of_target(targets: Array, probabilities: Array) -> Array:
    """Return the predicted probability of each row's true class."""
    found: Array = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    return found


def one_hot(targets: Array, probabilities: Array) -> Array:
    if targets.ndim == probabilities.ndim:
        return targets
    return np.eye(probabilities.shape[1])[targets.astype(np.int64)]


def contribute_scores(of: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """Wrap ``of`` to take probabilities; of two classes, ``of`` gets only the second."""

    def contribute(targets: Array, probabilities: Array) -> Array:
        if targets.ndim == 1 and probabilities.shape[1] == 2:
            return of(targets, probabilities[:, 1])
        return of(one_hot(targets, probabilities), probabilities)

    return contribute
