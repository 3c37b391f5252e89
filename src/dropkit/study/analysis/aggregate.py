"""Describe the runs on a few data sets together (Agarwal et al. 2021).

The bootstrap intervals are too narrow for few seeds, so no claim depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Pair = tuple[FloatArray, FloatArray]
"""The costs of a method's runs on one data set, and the costs of the baseline's runs."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Bootstrap:
    """A statistic of the runs, with the 2.5th and 97.5th percentile of its resamples."""

    value: float
    low: float
    high: float


def estimate_improvement(pairs: Sequence[Pair]) -> Bootstrap:
    """Estimate the probability that a run of the method is better than one of the baseline.

    The estimate is the mean over data sets of P(cost < baseline's cost) + P(equal)/2, over all
    pairs of runs.

    >>> estimate_improvement([(np.array([0.1, 0.2]), np.array([0.3, 0.2]))]).value
    0.875
    """

    def share(drawn: Sequence[Pair]) -> FloatArray:
        shares = []
        for ours, base in drawn:
            a, b = ours[:, :, None], base[:, None, :]
            shares.append(((a < b) + 0.5 * (a == b)).mean((1, 2)))
        return np.asarray(np.mean(shares, axis=0), dtype=np.float64)

    return _resample(pairs, share)


def estimate_middle(pairs: Sequence[Pair]) -> Bootstrap:
    """Estimate the difference of interquartile means over the runs of all data sets.

    The interquartile mean leaves out the lowest and the highest quarter of the runs.
    """

    def difference(drawn: Sequence[Pair]) -> FloatArray:
        ours, base = (np.concatenate(side, axis=1) for side in zip(*drawn, strict=True))
        return middle_mean(ours) - middle_mean(base)

    return _resample(pairs, difference)


def middle_mean(values: FloatArray) -> FloatArray:
    """Return the means of rows without their lowest and their highest quarter.

    >>> middle_mean(np.array([[0.0, 1.0, 3.0, 100.0]])).tolist()
    [2.0]
    """
    count = values.shape[1]
    kept = np.sort(values, axis=1)[:, count // 4 : count - count // 4]
    return np.asarray(kept.mean(1), dtype=np.float64)


def _resample(
    pairs: Sequence[Pair], statistic: Callable[[Sequence[Pair]], FloatArray]
) -> Bootstrap:
    """Resample the runs within every data set, and compute the statistic of each resample."""
    rng = np.random.default_rng(0)

    def draw(values: FloatArray) -> FloatArray:
        return rng.choice(values, (RESAMPLES, len(values)))

    low, high = np.quantile(statistic([(draw(a), draw(b)) for a, b in pairs]), [0.025, 0.975])
    (value,) = statistic([(a[None], b[None]) for a, b in pairs])
    return Bootstrap(float(value), float(low), float(high))
