"""Compute the contribution of every test row to a metric; their mean is the metric.

If a metric is a mean over rows, as the error is, the contributions are the losses of the rows. Any
other metric θ is linearized: row i of n contributes θ + IF_i. The influence IF_i is the derivative
of θ by the weight of row i, times n. The influences add up to 0.

The standard error of θ over the choice of the n test rows is the standard deviation of the
contributions divided by √n (the infinitesimal jackknife, or delta method). For two methods on the
same rows, the difference of their contributions gives the standard error of the difference of their
metrics.

Every function takes the same targets and predictions as the metric of its name, and returns an
array of shape (rows,).

References: Efron (1982), "The jackknife, the bootstrap and other resampling plans"; DeLong, DeLong
and Clarke-Pearson (1988), "Comparing the areas under two or more correlated receiver operating
characteristic curves", whose structural components are the contributions to the AUC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def divide(numerators: Array, denominators: Array) -> Array:
    """Return each row's contribution to the ratio of two means, which is 0 if the denominator is 0.

    >>> divide(np.array([1.0, 0.0]), np.array([1.0, 1.0])).tolist()
    [1.0, 0.0]
    """
    level = denominators.mean()
    if level == 0:
        return np.zeros(len(numerators))
    ratio = numerators.mean() / level
    found: Array = ratio + (numerators - ratio * denominators) / level
    return found


def balanced_error(targets: Array, labels: Array) -> Array:
    """Return each row's contribution to one minus the mean recall over the classes."""
    right = labels == targets
    classes = [targets == c for c in np.unique(targets)]
    found: Array = 1 - _average(divide(1.0 * (right & mine), 1.0 * mine) for mine in classes)
    return found


def f1_macro(targets: Array, labels: Array) -> Array:
    """Return each row's contribution to the mean of 2·TP/(2·TP + FP + FN) over the classes."""
    if targets.ndim > 1:
        pairs = list(zip(targets.T != 0, labels.T != 0, strict=True))
    else:
        classes = np.union1d(targets, labels)
        pairs = [(targets == c, labels == c) for c in classes]
    return _average(
        divide(2.0 * (true & predicted), 1.0 * true + predicted) for true, predicted in pairs
    )


def f1_micro(targets: Array, labels: Array) -> Array:
    """Return each row's contribution to F1 from pooled counts (accuracy for single classes)."""
    if targets.ndim == 1:
        right: Array = (targets == labels).astype(float)
        return right
    true, predicted = targets != 0, labels != 0
    return divide(2.0 * (true & predicted).sum(1), 1.0 * true.sum(1) + predicted.sum(1))


def auc(indicators: Array, scores: Array) -> Array:
    """Return each row's contribution to the share of positive-negative pairs in the correct order.

    Args:
        indicators: 1 for the rows of a class, of shape (rows,) or (rows, classes).
        scores: of the same shape.
    """
    return _by_column(_auc_of_one, indicators, scores)


def average_precision(indicators: Array, scores: Array) -> Array:
    """Return each row's contribution to the average precision; the arguments are those of `auc`."""
    return _by_column(_precision_of_one, indicators, scores)


def perplexity(losses: Array) -> Array:
    """Return each row's contribution to the exponential of the mean loss."""
    found: Array = np.exp(losses.mean()) * (1 + losses - losses.mean())
    return found


def rmse(targets: Array, values: Array) -> Array:
    """Return each row's contribution to the root of the mean squared error."""
    squared = ((values - targets) ** 2).reshape(len(targets), -1).mean(1)
    root = np.sqrt(squared.mean())
    found: Array = (squared / root + root) / 2 if root > 0 else squared
    return found


def r2(targets: Array, values: Array) -> Array:
    """Return each row's contribution to R², averaged over the outputs."""
    columns = zip(*(each.reshape(len(each), -1).T for each in (targets, values)), strict=True)
    found: Array = 1 - _average(divide((v - t) ** 2, (t - t.mean()) ** 2) for t, v in columns)
    return found


def _by_column(of_one: Callable[[Array, Array], Array], indicators: Array, scores: Array) -> Array:
    if indicators.ndim == 1:
        return of_one(indicators, scores)
    return _average(map(of_one, indicators.T, scores.T))


def _average(columns: Iterable[Array]) -> Array:
    found: Array = np.mean(list(columns), axis=0)
    return found


def _auc_of_one(indicators: Array, scores: Array) -> Array:
    positive = indicators != 0
    above, below = np.sort(scores[positive]), np.sort(scores[~positive])
    # For each row, the share of rows of the other kind on the correct side; a tie counts half.
    won = np.where(
        positive,
        _count_below(below, scores) / max(len(below), 1),
        1 - _count_below(above, scores) / max(len(above), 1),
    )
    area, share = won[positive].mean(), positive.mean()
    found: Array = area + (won - area) / np.where(positive, share, 1 - share)
    return found


def _count_below(others: Array, scores: Array) -> Array:
    left, right = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    found: Array = (left + right) / 2
    return found


def _precision_of_one(indicators: Array, scores: Array) -> Array:
    rows, positive = len(scores), indicators != 0
    ordered, hits = np.sort(scores), np.sort(scores[positive])
    selected = rows - np.searchsorted(ordered, hits)  # rows that score at least as high as a hit
    precision = (len(hits) - np.searchsorted(hits, hits)) / selected
    average, share = precision.mean(), len(hits) / rows
    # A row affects the precision of every hit that scores no higher than this row.
    known = np.searchsorted(hits, scores, "right")
    inverse, ratio = (
        np.concatenate([[0.0], np.cumsum(each)])[known]
        for each in (1 / selected, precision / selected)
    )
    own = np.zeros(rows)
    own[positive] = precision[np.searchsorted(hits, scores[positive])] - average
    found: Array = average + own / share + (positive * inverse - ratio) / share
    return found
