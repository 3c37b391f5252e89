"""Compute which difference a number of seeds detects, and how many seeds a difference needs."""

from __future__ import annotations

import math
from functools import partial

from scipy.special import chdtri, nctdtr, stdtrit

MOST = 1000
"""The largest number of seeds that is suggested."""


def upper_spread(spread: float, seeds: int) -> float:
    """Return an upper 80 % bound of a standard deviation s: s·√(ν/χ²(0.2, ν)), ν = seeds − 1.

    A plan based on s itself reaches its power in only a little more than half of studies.

    >>> round(upper_spread(1.0, 5), 3)
    1.558
    """
    freedom = seeds - 1
    return spread * math.sqrt(freedom / chdtri(freedom, 0.8))


def compute_power(
    difference: float,
    spread: float,
    seeds: int,
    *,
    row_variance: float = 0.0,
    overlap: float = 0.0,
    level: float = 0.05,
) -> float:
    """Return the power of a two-sided paired t-test.

    Args:
        difference: the true mean difference.
        spread: standard deviation of the differences over seeds.
        seeds: pairs of runs, at least 2.
        row_variance: variance of the mean difference over the choice of test rows; more seeds do
            not decrease it.
        overlap: test rows per training row, if every run is tested on different rows. The test adds
            the overlap to 1/seeds; more runs do not decrease the overlap.
        level: the level of the test.

    >>> round(compute_power(1.0, 0.5, 5), 2)
    0.91
    """
    part = spread**2 * (1 / seeds + overlap)
    variance = part + row_variance
    if variance == 0:
        return 1.0 if difference else 0.0
    freedom = (seeds - 1) * (variance / part) ** 2 if part else 1e6
    freedom = min(freedom, 1e6)
    critical = float(stdtrit(freedom, 1 - level / 2))
    shift = abs(difference) / math.sqrt(variance)
    if shift > critical + 8:  # power is practically 1, and scipy's distribution is NaN here
        return 1.0
    upper = 1 - float(nctdtr(freedom, shift, critical))
    return upper + (float(nctdtr(freedom, shift, -critical)) if shift < 5 else 0.0)


def find_detectable(
    spread: float,
    seeds: int,
    *,
    row_variance: float = 0.0,
    overlap: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest difference that a number of seeds detects with the given power.

    >>> round(find_detectable(1.0, 5), 2)
    1.68
    """
    find = partial(compute_power, row_variance=row_variance, overlap=overlap, level=level)
    low, high = 0.0, 4 * math.sqrt(spread**2 * (1 / seeds + overlap) + row_variance)
    if high == 0:
        return 0.0
    while find(high, spread, seeds) < power:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if find(middle, spread, seeds) >= power else (middle, high)
    return high


def find_seeds(
    difference: float,
    spread: float,
    *,
    row_variance: float = 0.0,
    overlap: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Return the smallest number of seeds that detects a difference with the given power.

    ``None`` if a thousand seeds are not enough, for example with too few test rows.

    >>> find_seeds(1.0, 1.0), find_seeds(1.0, 1.0, row_variance=0.2)
    (10, None)
    >>> find_seeds(1.0, 1.0, overlap=0.1)
    46
    """
    find = partial(compute_power, row_variance=row_variance, overlap=overlap, level=level)

    def finds(seeds: int) -> bool:
        return find(difference, spread, seeds) >= power

    if not finds(MOST):
        return None
    low, high = 1, MOST  # one seed finds nothing
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high
