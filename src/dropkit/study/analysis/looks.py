"""Define tests that remain valid if results are analyzed more than once.

Without such a test, adding seeds until a difference is significant gives a false result in 20 % of
studies.
"""

from __future__ import annotations

import math


def e_value(t: float, n: int, *, scale: float = 1.0) -> float:
    """Return an e-value against no difference, valid for any stopping rule.

    With a = 1 + n·c² and ν = n − 1,

    e = a^(−1/2) · ((1 + t²/(ν·a)) / (1 + t²/ν))^(−n/2).

    This is a likelihood ratio against no difference. Its numerator assumes that the standardized
    difference comes from a normal distribution with mean 0 and standard deviation c. The e-value
    does not depend on the spread of the data. Without a difference, the probability that e ever
    reaches 1/α is at most α.

    Args:
        t: statistic of the paired t-test.
        n: pairs, at least 2.
        scale: c, the expected size of the standardized difference.

    >>> round(e_value(5.0, 5), 2), round(e_value(5.0, 20), 2)
    (9.7, 527.17)

    Reference: Wang and Ramdas (2023), "Anytime-valid t-tests and confidence sequences".
    """
    spread, freedom = 1 + n * scale**2, n - 1
    ratio = (1 + t**2 / (freedom * spread)) / (1 + t**2 / freedom)
    return math.exp(-0.5 * math.log(spread) - n / 2 * math.log(ratio))


def anytime_p(t: float, n: int, *, scale: float = 1.0) -> float:
    """Return a two-sided p-value that is valid for any stopping rule: 1/e, at most 1.

    >>> anytime_p(0.0, 5)
    1.0
    """
    return min(1.0, 1 / e_value(t, n, scale=scale))


def anytime_critical(n: int, level: float, *, scale: float = 1.0) -> float:
    """Return the smallest t with `anytime_p` ≤ ``level``; infinite if n pairs are too few.

    >>> round(anytime_p(anytime_critical(10, 0.05), 10), 6)
    0.05
    """
    spread = 1 + n * scale**2
    ratio = (level**2 / spread) ** (1 / n)
    if ratio <= 1 / spread:
        return math.inf
    return math.sqrt((n - 1) * (1 - ratio) / (ratio - 1 / spread))


def spend_level(look: int) -> float:
    """Return the significance level of the planned analysis number ``look``, counted from 0.

    The levels of any number of analyses add up to at most 0.05. So all analyses together make at
    most 5 % false claims, and analyses can be added later.

    >>> [spend_level(look) for look in range(6)]
    [0.01, 0.012, 0.012, 0.008, 0.004, 0.002]
    """
    first = (0.010, 0.012, 0.012, 0.008)
    return first[look] if look < len(first) else 0.004 / 2 ** (look - len(first))
