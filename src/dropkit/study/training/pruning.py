"""Decide when a trial of a search is pruned."""

from __future__ import annotations

from collections.abc import Sequence


def falls_behind(losses: Sequence[float], limits: Sequence[float]) -> bool:
    """Return whether the lowest loss so far is above the limit of the last epoch.

    `dropkit.study.tuning.median` computes the limits, one per epoch.

    >>> [falls_behind(losses, [0.8, 0.6]) for losses in ([0.9, 0.7], [0.9, 0.6], [0.9, 0.6, 0.6])]
    [True, False, False]
    """
    epoch = len(losses)
    return 0 < epoch <= len(limits) and min(losses) > limits[epoch - 1]
