"""Check whether a single run decides a t-test, which is then not reliable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

FEWEST = 8
"""With fewer pairs no pattern of signs is rare enough to say something."""
_ALL = 12  # pairs up to which every pattern is counted; more are drawn


def is_skewed(differences: Sequence[float]) -> bool:
    """Whether one difference outweighs the others together, or mean and median disagree in sign.

    >>> is_skewed([-1.0, -1.0, -1.0, 9.0]), is_skewed([1.0, 1.1, 0.9])
    (True, False)
    """
    sizes = np.abs(differences)
    if len(sizes) < 3:
        return False
    outweighs = 2 * sizes.max() > sizes.sum()
    disagree = np.sign(np.mean(differences)) * np.sign(np.median(differences)) < 0
    return bool(outweighs or disagree)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided sign-flip p-value of the mean, which only assumes symmetry.

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
