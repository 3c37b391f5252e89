"""What every test row contributes to a metric: numbers whose mean over the rows is the metric.

Of a mean over rows, such as the error, these are the rows' own losses. Any other metric θ is
linearized: row i contributes θ + IF_i, where the influence IF_i is n times what θ changes, to first
order, when row i counts for a little more than the others. The influences add up to 0, and the
standard error of θ over the choice of n test rows is the contributions' standard deviation divided
by √n (the infinitesimal jackknife, or delta method). Of two methods on the same rows, the
difference of their contributions says the same of the difference of their metrics.

Every function takes targets and predictions as the metric of its name does, and returns an array
of shape (rows,).

References: Efron (1982), "The jackknife, the bootstrap and other resampling plans"; DeLong, DeLong
and Clarke-Pearson (1988), "Comparing the areas under two or more correlated receiver operating
characteristic curves", whose structural components those of the AUC are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def divide(numerators: Array, denominators: Array) -> Array:
    """The ratio of two means; 0 where the denominators are.

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
    """One minus the mean over the classes of the share that is predicted right."""
    right = labels == targets
    classes = [targets == c for c in np.unique(targets)]
    found: Array = 1 - _average(divide(1.0 * (right & mine), 1.0 * mine) for mine in classes)
    return found


def f1_macro(targets: Array, labels: Array) -> Array:
    """The mean over the classes, or labels, of 2·TP/(2·TP + FP + FN)."""
    if targets.ndim > 1:
        pairs = list(zip(targets.T != 0, labels.T != 0, strict=True))
    else:
        classes = np.union1d(targets, labels)
        pairs = [(targets == c, labels == c) for c in classes]
    return _average(divide(2.0 * (true & said), 1.0 * true + said) for true, said in pairs)


def f1_micro(targets: Array, labels: Array) -> Array:
    """The same of all classes together: of one class a row, the accuracy."""
    if targets.ndim == 1:
        right: Array = (targets == labels).astype(float)
        return right
    true, said = targets != 0, labels != 0
    return divide(2.0 * (true & said).sum(1), 1.0 * true.sum(1) + said.sum(1))


def auc(indicators: Array, scores: Array) -> Array:
    """The share of pairs, of a positive and a negative row, that the scores order rightly.

    Args:
        indicators: 1 for the rows of a class, of shape (rows,) or (rows, classes).
        scores: of the same shape.
    """
    return _by_column(_auc_of_one, indicators, scores)


def average_precision(indicators: Array, scores: Array) -> Array:
    """The mean over positive rows of the precision at their score; arguments as for `auc`."""
    return _by_column(_precision_of_one, indicators, scores)


def perplexity(losses: Array) -> Array:
    """The exponential of the mean of rows' losses."""
    found: Array = np.exp(losses.mean()) * (1 + losses - losses.mean())
    return found


def rmse(targets: Array, values: Array) -> Array:
    """The root of the mean squared error."""
    squared = ((values - targets) ** 2).reshape(len(targets), -1).mean(1)
    root = np.sqrt(squared.mean())
    found: Array = (squared / root + root) / 2 if root > 0 else squared
    return found


def r2(targets: Array, values: Array) -> Array:
    """One minus the squared errors' share of the targets' variance, mean over the outputs."""
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
    # How many of the other kind a row is rightly ordered with, ties by half.
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
    selected = rows - np.searchsorted(ordered, hits)  # rows with the score of a hit, or more
    precision = (len(hits) - np.searchsorted(hits, hits)) / selected
    average, share = precision.mean(), len(hits) / rows
    # A row counts in the precision of every hit whose score it has or exceeds.
    known = np.searchsorted(hits, scores, "right")
    inverse, ratio = (
        np.concatenate([[0.0], np.cumsum(each)])[known]
        for each in (1 / selected, precision / selected)
    )
    own = np.zeros(rows)
    own[positive] = precision[np.searchsorted(hits, scores[positive])] - average
    found: Array = average + own / share + (positive * inverse - ratio) / share
    return found
