"""Check whether a single run decides a t-test, which is then unreliable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

FEWEST = 8
"""The smallest number of pairs for a sign-flip test; fewer have too few patterns of signs."""
_ALL = 12  # up to this number of pairs, all patterns of signs are used; above, random patterns


def is_skewed(differences: Sequence[float]) -> bool:
    """Return whether one difference outweighs all others, or mean and median differ in sign.

    >>> is_skewed([-1.0, -1.0, -1.0, 9.0]), is_skewed([1.0, 1.1, 0.9])
    (True, False)
    """
    sizes = np.abs(differences)
    if len(sizes) < 3:
        return False
    return bool(2 * sizes.max() > sizes.sum()) or have_opposite_signs(differences)


def have_opposite_signs(differences: Sequence[float]) -> bool:
    """Return whether the mean and the median of differences have opposite signs."""
    return bool(np.sign(np.mean(differences)) * np.sign(np.median(differences)) < 0)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the mean by sign flips, a test that only assumes symmetry.

    >>> sign_flip_p([1.0] * 8)
    0.0078125
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) <= _ALL:
        signs = np.array(list(product((1.0, -1.0), repeat=len(values))))
    else:
        signs = np.random.default_rng(0).choice((1.0, -1.0), size=(20_000, len(values)))
    sums = np.abs(signs @ values)
    return float(np.mean(sums >= (1 - 1e-9) * abs(values.sum())))
