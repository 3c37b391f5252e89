"""Test methods over several data sets by ranks, which need no common scale (Demšar 2006).

The tests use only numpy, because `scipy.stats` is slow to import and its signed-rank test is
approximate for tied differences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, ndtr

FloatArray = npt.NDArray[np.float64]

_EXACT = 100
"""The number of differences up to which the null distribution of signed ranks is exact."""


@dataclass(frozen=True)
class Friedman:
    """Friedman's test of whether methods differ: the statistic, corrected for ties, and p-value.

    The p-value is from Iman and Davenport's F, which is less conservative than χ².
    """

    statistic: float
    p: float


def rank(values: npt.ArrayLike) -> FloatArray:
    """Rank values from 1, the lowest; ties share the mean of their ranks.

    >>> rank([0.3, 0.1, 0.3]).tolist()
    [2.5, 1.0, 2.5]
    """
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def signed_rank_test(differences: npt.ArrayLike) -> float | None:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; ``None`` if all values are 0.

    Zeros are ranked and then left out (Pratt 1959). Under the null hypothesis, both signs are
    equally likely for every rank. The null distribution is exact, also with ties. For more than 100
    differences, a normal distribution approximates it.

    >>> signed_rank_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    0.03125

    Reference: Wilcoxon (1945).
    """
    array = np.asarray(differences, dtype=np.float64)
    ranks = rank(np.abs(array))[array != 0]
    signs = np.sign(array[array != 0])
    if not len(ranks):
        return None
    positive, total = float(ranks[signs > 0].sum()), float(ranks.sum())
    smaller = min(positive, total - positive)
    if len(ranks) > _EXACT:
        z = (smaller - total / 2 + 0.25) / math.sqrt(float((ranks**2).sum()) / 4)
        return min(1.0, float(2 * ndtr(z)))
    doubled = np.rint(2 * ranks).astype(int)  # integers, even with ties
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1.0
    for step in doubled:
        ways[step:] = ways[step:] + ways[:-step]
        ways /= 2
    return min(1.0, float(2 * ways[: round(2 * smaller) + 1].sum()))


def least_p(count: int) -> float:
    """Return the lowest p-value that the signed-rank test of ``count`` differences can give."""
    return float(2.0 ** (1 - count))


def median_interval(differences: npt.ArrayLike) -> tuple[float, float | None, float | None]:
    """Return Hodges and Lehmann's median of differences, with its 95 % interval.

    The estimate is the median of the Walsh averages (dᵢ + dⱼ)/2 over pairs of differences dᵢ and
    dⱼ. The interval holds the values that Wilcoxon's test does not reject at 5 %; for fewer than
    six differences the bounds are ``None``.

    >>> median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (3.5, 1.0, 6.0)

    Reference: Hodges and Lehmann (1963).
    """
    array = np.asarray(differences, dtype=np.float64)
    n = len(array)
    i, j = np.triu_indices(n)
    walsh = np.sort((array[i] + array[j]) / 2)
    middle = float(np.median(walsh))
    cut = _find_cut(n)
    if cut is None:
        return middle, None, None
    return middle, float(walsh[cut]), float(walsh[len(walsh) - 1 - cut])


def _find_cut(n: int) -> int | None:
    """Count the Walsh averages beyond each bound: the largest c with 2·P(W ≤ c) ≤ 0.05.

    W is the signed-rank statistic of n differences.
    """
    total = n * (n + 1) // 2
    if n > _EXACT:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, math.floor(total / 2 - 1.959964 * spread))
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    for step in range(1, n + 1):
        ways[step:] = ways[step:] + ways[:-step]
        ways /= 2
    below = np.flatnonzero(2 * np.cumsum(ways) <= 0.05)
    return int(below[-1]) if len(below) else None


def friedman_test(ranks: FloatArray) -> Friedman:
    """Apply Friedman's test to ranks of shape (data sets, methods).

    With the rank rᵢⱼ of method j of k on data set i of n, and the mean rank R̄ⱼ of method j, χ² =
    (k − 1)·Σⱼ(R̄ⱼ − (k + 1)/2)²·n² / Σᵢⱼ(rᵢⱼ − (k + 1)/2)² and F = (n − 1)χ²/(n(k − 1) − χ²).
    Without ties, χ² is the usual 12n/(k(k + 1))·Σⱼ(R̄ⱼ − (k + 1)/2)².

    >>> friedman_test(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])).statistic
    4.66...

    Reference: Friedman (1937); Iman and Davenport (1980).
    """
    n, k = ranks.shape
    centred = ranks - (k + 1) / 2
    within = float((centred**2).sum())
    if within == 0:
        return Friedman(0.0, 1.0)
    statistic = (k - 1) * n**2 * float((centred.mean(0) ** 2).sum()) / within
    left = n * (k - 1) - statistic
    if left <= 1e-12 * n * k:  # every data set ranks the methods equally
        return Friedman(statistic, math.factorial(k) ** (1.0 - n))
    if n < 2:
        return Friedman(statistic, 1.0)
    f = (n - 1) * statistic / left
    return Friedman(statistic, float(fdtrc(k - 1, (k - 1) * (n - 1), f)))


def critical_difference(methods: int, datasets: int, significance: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks: q·√(k(k + 1)/6N).

    Here k is the number of methods and N the number of data sets; q is the upper quantile of the
    range of k standard normal variables, divided by √2.

    >>> round(critical_difference(4, 14), 2)
    1.25

    Reference: Demšar (2006), equation 11.
    """
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _exceed(middle, methods) > significance else (low, middle)
    return high / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * datasets))


def _exceed(q: float, k: int) -> float:
    """Return the probability that the range of k standard normal variables exceeds q.

    It is 1 − k∫φ(z)·(Φ(z) − Φ(z − q))ᵏ⁻¹dz, with the density φ and the distribution function Φ of
    the normal distribution. The integral is a sum over a grid; the integrand is zero at its ends.
    """
    z = np.linspace(-8.0, 8.0 + q, 2001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return 1 - float(k * (density * (ndtr(z) - ndtr(z - q)) ** (k - 1)).sum() * (z[1] - z[0]))
