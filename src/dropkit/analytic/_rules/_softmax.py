"""Softmax of independent normal logits, and the expected cross entropy.

The probability of class k is ``π_k = σ(s_k − r_k)`` with the logits s and ``r_k = log Σ_{l≠k} exp
s_l``, which is independent of s_k. The mean and variance of r_k are computed by combining the
logits in pairs; each intermediate log-sum-exp is approximated as normal.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dropkit.analytic._rules.activations import quadrature, sigmoid, softplus_mean
from dropkit.analytic._rules.gaussian import Gaussian


def softmax(logits: Gaussian, dim: int = -1) -> Gaussian:
    """Return mean and variance of the class probabilities; the means are normalized to sum 1."""
    last = Gaussian(logits.mean.movedim(dim, -1), logits.variance.movedim(dim, -1))
    if last.mean.shape[-1] == 1:
        return Gaussian(torch.ones_like(logits.mean), torch.zeros_like(logits.mean))
    mean, variance = sigmoid(_odds(last))
    mean = mean / mean.sum(-1, keepdim=True)
    return Gaussian(mean.movedim(-1, dim), variance.movedim(-1, dim))


def cross_entropy(logits: Gaussian, target: Tensor) -> Tensor:
    """Return ``E log(1 + exp(r_y − s_y))`` for each row of (rows, classes) and its class y."""
    row = target.unsqueeze(1)
    mean, variance = _odds(logits)
    return softplus_mean(Gaussian(-mean.gather(1, row), variance.gather(1, row))).squeeze(1)


def log_sum_exp(logits: Gaussian) -> Gaussian:
    """Return ``log Σ exp``, computed in pairs along the last dimension, which gets size 1."""
    classes = logits.mean.shape[-1]
    if classes == 1:
        return logits
    return log_sum_exp(_join(_log_add_exp(*_pairs(logits)), _odd(logits)))


def _odds(logits: Gaussian) -> Gaussian:
    """Return ``s_k − r_k`` for every class along the last dimension."""
    rest = _others(logits)
    return Gaussian(logits.mean - rest.mean, logits.variance + rest.variance)


def _others(x: Gaussian) -> Gaussian:
    """For each entry along the last dimension, return ``log Σ exp`` of all other entries.

    Use a tree: first compute, by recursion, the sum of all entries outside each pair. Then, for
    each entry of a pair, add the pair's other entry. This takes about three times the work
    of one sum, not one sum per entry.
    """
    classes = x.mean.shape[-1]
    if classes == 2:
        return _each(x, lambda t: t.flip(-1))
    first, second = _pairs(x)
    outside = _others(_join(_log_add_exp(first, second), _odd(x)))
    above = _each(outside, lambda t: t[..., : classes // 2])
    both = (_log_add_exp(above, second), _log_add_exp(above, first))
    inside = Gaussian(*(torch.stack(t, -1).flatten(-2) for t in zip(*both, strict=True)))
    return _join(inside, _each(outside, lambda t: t[..., classes // 2 :]))


def _pairs(x: Gaussian) -> tuple[Gaussian, Gaussian]:
    """Return the first and the second entry of each pair along the last dimension."""
    paired = x.mean.shape[-1] // 2 * 2
    return _each(x, lambda t: t[..., :paired:2]), _each(x, lambda t: t[..., 1:paired:2])


def _odd(x: Gaussian) -> Gaussian:
    """Return the last entry if the number of entries is odd, because it is in no pair."""
    return _each(x, lambda t: t[..., t.shape[-1] // 2 * 2 :])


def _each(x: Gaussian, part: Callable[[Tensor], Tensor]) -> Gaussian:
    return Gaussian(part(x.mean), part(x.variance))


def _join(x: Gaussian, y: Gaussian) -> Gaussian:
    return Gaussian(*(torch.cat(t, -1) for t in zip(x, y, strict=True)))


def _log_add_exp(x: Gaussian, y: Gaussian) -> Gaussian:
    """Return ``log(eˣ + eʸ) = y + log(1 + exp(x − y))`` for independent x and y."""
    apart = Gaussian(x.mean - y.mean, x.variance + y.variance)
    more = quadrature(F.softplus, apart, fine=True)
    # Cov(y, f(x − y)) = −Var y · E f'(x − y), by Stein's lemma.
    shared = y.variance * sigmoid(apart).mean
    variance = y.variance + more.variance - 2 * shared
    return Gaussian(y.mean + more.mean, variance.clamp(min=0))
