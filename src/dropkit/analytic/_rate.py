"""Compute the variance of a mask from its rate."""

from dropkit._checks import check_probability


def mask_variance(p: float) -> float:
    """Return v = p/(1 − p), the variance of an inverted mask.

    Raises:
        ValueError: if p lies outside [0, 1), or is NaN.
    """
    p = check_probability(p)
    if p == 1:
        raise ValueError(
            "p must be below 1, got 1: if every feature is dropped, there is no minimum"
        )
    return p / (1 - p)
