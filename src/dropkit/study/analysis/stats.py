"""Compute intervals and tests with small pure functions.

Student's t comes from `scipy.special`, which imports three times as fast as `scipy.stats`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Values = Sequence[float] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval over ``n`` values.

    A single value, or several equal values, have no interval, because their spread is unknown.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval exists and lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def half(self) -> float | None:
        """Half the width of the interval; ``None`` without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def __neg__(self) -> Estimate:
        """Return the estimate with the opposite sign: a gain from a loss."""
        if self.low is None or self.high is None:
            return Estimate(-self.mean, None, None, self.n)
        return Estimate(-self.mean, -self.high, -self.low, self.n)


def are_equal(values: npt.NDArray[np.float64]) -> bool:
    """Return whether all values are equal up to rounding."""
    # Equal differences of counts may differ in their last bits: 12/360 - 9/360 is not 10/360 -
    # 7/360. A test on this rounding noise would give p = 1e-60.
    return bool(np.ptp(values) <= 1e-9 * np.abs(values).max())


def t_interval(values: Values, confidence: float = 0.95, *, overlap: float = 0.0) -> Estimate:
    """Return the mean x̄ of n values and its interval by Student's t: x̄ ± t·s·√(1/n + overlap).

    ``overlap`` is explained in `Effect`; it is 0 without folds.

    >>> t_interval([1.0, 2.0, 3.0])
    Estimate(mean=2.0, low=-0.484..., high=4.484..., n=3)
    """
    array = np.asarray(values, dtype=np.float64)
    mean, n = float(array.mean()), len(array)
    if n < 2 or are_equal(array):
        return Estimate(mean, None, None, n)
    half = float(
        stdtrit(n - 1, (1 + confidence) / 2) * array.std(ddof=1) * math.sqrt(1 / n + overlap)
    )
    return Estimate(mean, mean - half, mean + half, n)


def estimate(values: Values, *, overlap: float = 0.0) -> Estimate | None:
    """Return the `t_interval` of the values; ``None`` without values."""
    return t_interval(values, overlap=overlap) if len(values) else None


def paired_test(differences: Values) -> float | None:
    """Return the two-sided p-value of the paired t-test, or ``None`` if it cannot be computed.

    The test cannot be computed for one pair, or if all pairs have equal differences: then the
    spread of the differences is unknown, not zero.

    >>> round(paired_test([1.0, 2.0, 3.0]), 4)
    0.0742
    """
    array = np.asarray(differences, dtype=np.float64)
    if len(array) < 2 or are_equal(array):
        return None
    t = array.mean() / math.sqrt(array.var(ddof=1) / len(array))
    return float(2 * stdtr(len(array) - 1, -abs(t)))


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Correct p-values for several comparisons by Holm's step-down procedure.

    With m values sorted as p₁ ≤ p₂ ≤ …, pᵢ becomes the largest of (m − j + 1)·pⱼ over j ≤ i, at
    most 1. A comparison without a p-value counts in m and remains without one.

    >>> holm([0.01, 0.04, None, 0.02])
    (0.04, 0.08, None, 0.06)

    Reference: Holm (1979).
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[i] = largest
    return tuple(adjusted)
