"""Softmax of independent normal logits, and the expected cross entropy.

``π_k = σ(s_k − r_k)`` with ``r_k = log Σ_{l≠k} exp s_l``, which is independent of s_k. The moments
of every r_k come from adding the classes two at a time, each sum taken for normal again.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dropkit.analytic._rules.activations import quadrature, sigmoid, softplus_mean
from dropkit.analytic._rules.gaussian import Gaussian


def softmax(logits: Gaussian, dim: int = -1) -> Gaussian:
    """Mean and variance of the class probabilities; the means are made to add up to 1."""
    last = Gaussian(logits.mean.movedim(dim, -1), logits.variance.movedim(dim, -1))
    if last.mean.shape[-1] == 1:
        return Gaussian(torch.ones_like(logits.mean), torch.zeros_like(logits.mean))
    mean, variance = sigmoid(_odds(last))
    mean = mean / mean.sum(-1, keepdim=True)
    return Gaussian(mean.movedim(-1, dim), variance.movedim(-1, dim))


def cross_entropy(logits: Gaussian, target: Tensor) -> Tensor:
    """``E log(1 + exp(r_y − s_y))`` of every row of logits (rows, classes), for its class y."""
    row = target.unsqueeze(1)
    mean, variance = _odds(logits)
    return softplus_mean(Gaussian(-mean.gather(1, row), variance.gather(1, row))).squeeze(1)


def log_sum_exp(logits: Gaussian) -> Gaussian:
    """``log Σ exp`` along the last dimension, two at a time; of size 1 there."""
    classes = logits.mean.shape[-1]
    if classes == 1:
        return logits
    return log_sum_exp(_join(_log_add_exp(*_pairs(logits)), _odd(logits)))


def _odds(logits: Gaussian) -> Gaussian:
    """``s_k − r_k`` of every class, along the last dimension."""
    rest = _others(logits)
    return Gaussian(logits.mean - rest.mean, logits.variance + rest.variance)


def _others(x: Gaussian) -> Gaussian:
    """``log Σ exp`` of all entries along the last dimension but one, for each of them.

    Through a tree: what is outside a pair is known from the pairs, then each of the two adds the
    other. Twice the work of one sum over all, instead of one for every entry.
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
    """The first and the second of every two entries along the last dimension."""
    paired = x.mean.shape[-1] // 2 * 2
    return _each(x, lambda t: t[..., :paired:2]), _each(x, lambda t: t[..., 1:paired:2])


def _odd(x: Gaussian) -> Gaussian:
    """The entry that is in no pair, if there is one."""
    return _each(x, lambda t: t[..., t.shape[-1] // 2 * 2 :])


def _each(x: Gaussian, part: Callable[[Tensor], Tensor]) -> Gaussian:
    return Gaussian(part(x.mean), part(x.variance))


def _join(x: Gaussian, y: Gaussian) -> Gaussian:
    return Gaussian(*(torch.cat(t, -1) for t in zip(x, y, strict=True)))


def _log_add_exp(x: Gaussian, y: Gaussian) -> Gaussian:
    """``log(eˣ + eʸ) = y + log(1 + exp(x − y))`` of independent x and y."""
    apart = Gaussian(x.mean - y.mean, x.variance + y.variance)
    more = quadrature(F.softplus, apart, fine=True)
    # Cov(y, f(x − y)) = −Var y · E f'(x − y), by Stein's lemma.
    shared = y.variance * sigmoid(apart).mean
    variance = y.variance + more.variance - 2 * shared
    return Gaussian(y.mean + more.mean, variance.clamp(min=0))
