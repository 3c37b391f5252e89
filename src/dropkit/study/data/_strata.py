"""Define the strata of rows: classes, labels, or quantiles of numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dropkit.study.data._data import Array
from dropkit.study.tasks import TASKS

# The number of quantiles of a numeric target that are used as strata.
_QUANTILES = 10


def find_strata(y: Array, task: str, fewest: int) -> Array | None:
    """Return the stratum of every row: a class or a quantile; ``None`` for too few rows.

    Several numbers are divided by quantiles of their first principal component.
    """
    if TASKS[task].predicts == "class":
        return y
    parts = min(_QUANTILES, fewest, len(y) // 2)
    if parts < 2:
        return None
    rank = np.empty(len(y), np.int64)
    rank[np.argsort(_project(y), kind="stable")] = np.arange(len(y))
    return rank * parts // len(y)


def count_held(y: Array, task: str, fewest: int) -> Callable[[Array], Array]:
    """Return a function that counts the rows of a mask in each class, label or quantile."""
    if TASKS[task].predicts == "labels":
        return lambda rows: y[rows].sum(0)
    strata = find_strata(y, task, fewest)
    of_each = np.zeros(len(y), np.int64) if strata is None else strata
    total = int(of_each.max()) + 1
    return lambda rows: np.bincount(of_each[rows], minlength=total)


def draw_labels(y: Array, count: int, seed: int) -> Array:
    """Draw ``count`` rows with the same share of each label as in all rows; return a mask.

    The label with the fewest remaining rows is drawn first, because later labels can still correct
    their own shares. If most rows have a label, the rows without it are drawn instead.

    Reference: Sechidis, Tsoumakas and Vlahavas (2011), "On the stratification of multi-label
    data", here with the rows of one label drawn at once.
    """
    rng = np.random.default_rng(seed)
    rare = np.where(y.mean(0) > 0.5, 1 - y, y).astype(bool)
    wanted = rare.sum(0) * (count / len(y))
    is_open, is_drawn = np.ones(len(y), bool), np.zeros(len(y), bool)
    while (left := rare[is_open].sum(0)).any():
        label = int(np.where(left > 0, left, len(y) + 1).argmin())
        rows = np.flatnonzero(is_open & rare[:, label])
        room = count - int(is_drawn.sum())
        room_beside = int(is_open.sum()) - room
        share = int(np.clip(np.floor(wanted[label] + 0.5), 0, len(rows)))
        chosen = rng.permutation(rows)[: max(min(share, room), len(rows) - room_beside)]
        is_drawn[chosen], is_open[rows] = True, False
        wanted -= rare[chosen].sum(0)
    rows = np.flatnonzero(is_open)
    is_drawn[rng.permutation(rows)[: count - int(is_drawn.sum())]] = True
    return is_drawn


def _project(y: Array) -> Array:
    """Return numbers unchanged; reduce several to their first principal component, standardized."""
    if y.ndim == 1:
        return y
    centred = y - y.mean(0)
    spread = centred.std(0)
    scaled = centred / np.where(spread > 0.0, spread, 1.0)
    axis = np.linalg.eigh(scaled.T @ scaled)[1][:, -1]
    sign = 1.0 if axis[np.abs(axis).argmax()] > 0 else -1.0  # eigh leaves the sign open
    component: Array = scaled @ (sign * axis)
    return component
