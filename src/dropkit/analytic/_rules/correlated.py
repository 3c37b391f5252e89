"""Softmax of normal logits, some of which are correlated (the leading logits).

The expectation over the leading logits, and over the log-sum-exp of all others, is an average over
a fixed set of points. The points have the mean and the covariance of the normal distribution.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.quasirandom import SobolEngine
from torch.special import ndtri

from dropkit.analytic._rules._softmax import log_sum_exp, softmax
from dropkit.analytic._rules.gaussian import Gaussian, Joint

_PAIRS = 64  # minimum number of pairs of opposite points


def correlated_softmax(logits: Joint) -> Gaussian:
    """Return mean and variance of the class probabilities.

    The probability that remains for the other classes is divided as if all logits were independent.
    """
    _, _, leading, covariance = logits
    first = logits.mean.gather(1, leading)
    other = torch.ones_like(logits.mean, dtype=torch.bool).scatter(1, leading, False)
    rows, classes = other.shape
    if leading.shape[1] == classes:
        parts, place = _average(first, covariance), leading
    else:
        place = torch.cat([leading, other.nonzero()[:, 1].view(rows, -1)], 1)
        others = Gaussian(*(t[other].view(rows, -1) for t in logits[:2]))
        rest = log_sum_exp(others)
        wider = F.pad(covariance, (0, 1, 0, 1))
        wider[:, -1, -1] = rest.variance[:, 0]
        parts = _average(torch.cat([first, rest.mean], 1), wider)
        share = softmax(others).mean
        parts = Gaussian(
            torch.cat([parts.mean[:, :-1], parts.mean[:, -1:] * share], 1),
            torch.cat([parts.variance[:, :-1], parts.variance[:, -1:] * share.square()], 1),
        )
    return Gaussian(*(torch.zeros_like(t).scatter(1, place, t) for t in parts))


def _average(mean: Tensor, covariance: Tensor) -> Gaussian:
    """Return the moments of the softmax of N(mean, covariance)."""
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
    total = squares = torch.zeros_like(mean)
    points = _points(mean.shape[1]).to(mean)
    for point in points:
        apart = root @ point
        for side in (mean + apart, mean - apart):
            probabilities = side.softmax(-1)
            total, squares = total + probabilities, squares + probabilities.square()
    average = total / (2 * len(points))
    return Gaussian(average, (squares / (2 * len(points)) - average.square()).clamp(min=0))


@lru_cache
def _points(dims: int) -> Tensor:
    """Return points z, (pairs, dims); all points ±z together have mean 0 and covariance 1."""
    engine = SobolEngine(dims)  # type: ignore[no-untyped-call]
    uniform = engine.draw(1 + max(_PAIRS, 4 * dims), dtype=torch.float64)[1:]  # skip 0
    normal: Tensor = ndtri(uniform)
    root = torch.linalg.cholesky(normal.mT @ normal / len(normal))
    points: Tensor = torch.linalg.solve_triangular(root, normal.mT, upper=False).mT
    return points
