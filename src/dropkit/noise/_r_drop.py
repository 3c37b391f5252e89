"""R-Drop: penalize differences between two passes with dropout over the same batch."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def r_drop_loss(
    logits1: Tensor,
    logits2: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    *,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of two passes plus alpha times their symmetric Kullback-Leibler divergence.

    ``L = ½ (CE(P₁, y) + CE(P₂, y)) + α/2 · (KL(P₁‖P₂) + KL(P₂‖P₁))``, averaged over the samples; P₁
    and P₂ are the softmax of the logits. Without dropout, as in evaluation, both passes are equal
    and L is the cross-entropy.

    Args:
        logits1: logits of the first pass, (N, C) or (N, C, …) as in ``F.cross_entropy``; −∞ for a
            class that both passes exclude.
        logits2: logits of the second pass over the same batch, of the same shape.
        target: classes (N) or (N, …), int64; or probabilities with the shape of the logits.
        alpha: weight of the divergence, 0 or more.
        ignore_index: positions with this class, such as padding, are ignored in both terms.

    Returns:
        A scalar in float32 or wider; NaN if every position is ignored.

    Raises:
        ValueError: logits of different shapes, or fewer than two dimensions; alpha negative or not
            finite.

    >>> logits1, logits2 = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> r_drop_loss(logits1, logits2, torch.tensor([0, 2]), alpha=0.5)
    tensor(0.9922)

    Reference: Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang & Liu, "R-Drop: regularized dropout for
    neural networks" (2021). Others report that the paper adds the two cross-entropies. This
    function takes their mean, so the paper's α is twice this α.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number, 0 or more, got {alpha}")
    if logits1.shape != logits2.shape or logits1.dim() < 2:
        raise ValueError(
            "the logits of both passes must have the same shape (N, C) or (N, C, …), got "
            f"{tuple(logits1.shape)} and {tuple(logits2.shape)}"
        )
    exact = torch.promote_types(logits1.dtype, torch.float32)
    log_p, log_q = (logits.to(exact).log_softmax(1) for logits in (logits1, logits2))
    entropies = [_cross_entropy(log, target, ignore_index) for log in (log_p, log_q)]
    return sum(entropies) / 2 + alpha / 2 * _divergence(log_p, log_q, target, ignore_index)


def _cross_entropy(log: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    if target.is_floating_point():  # a class with probability 0 may have log −∞, and 0 · ∞ is NaN
        return -(target * log.masked_fill(target == 0, 0)).sum(1).mean()
    return F.cross_entropy(log, target, ignore_index=ignore_index)


def _divergence(log_p: Tensor, log_q: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Return the mean over positions of KL(P‖Q) + KL(Q‖P) = Σ (P − Q)(log P − log Q)."""
    excluded = (log_p == -math.inf) & (log_q == -math.inf)
    ratio = (log_p - log_q).masked_fill(excluded, 0)
    divergence = ((log_p.exp() - log_q.exp()) * ratio).sum(1)
    if target.is_floating_point():
        return divergence.mean()
    ignored = target == ignore_index
    return divergence.masked_fill(ignored, 0).sum() / (~ignored).sum()


def forward_twice(
    model: Callable[..., Tensor], *inputs: Any, **options: Any
) -> tuple[Tensor, Tensor]:
    """Run a model on a batch twice, in one pass over the doubled batch.

    ``(y₁, y₂) = split(model([x; x]))``. Dropout draws different masks for the two halves. Some
    layers use one mask for all samples of a call, and so the same mask for both halves:
    ``DropConnect``, ``WeightDrop``, ``TargetedDropout``, ``EmbeddingDropout``, ``LayerDrop`` and
    layers made by `thin`. Call a model with such layers twice instead.

    Args:
        model: module or function; returns a tensor with the samples along dimension 0.
        inputs: arguments of the model. Tensors are doubled along dimension 0; other values are
            passed unchanged.
        options: keyword arguments of the model, treated in the same way.

    Returns:
        The outputs of the two halves.

    Raises:
        ValueError: a tensor without dimensions in the arguments; the model does not return one
            output for each sample.

    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5))
    >>> x, target = torch.randn(8, 4), torch.arange(8) % 3
    >>> r_drop_loss(*forward_twice(model, x), target, alpha=1.0).shape
    torch.Size([])

    Reference: Liang et al. (2021).
    """
    doubled = [_double(value) for value in inputs]
    named = {name: _double(value) for name, value in options.items()}
    output = model(*doubled, **named)
    if not isinstance(output, Tensor) or output.dim() == 0 or len(output) % 2:
        found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            "the model must return a tensor with one output for each sample of the doubled batch, "
            f"got {found}; wrap it in a function that returns its logits"
        )
    first, second = output.chunk(2)
    return first, second


def _double(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    if value.dim() == 0:
        raise ValueError(
            "tensors must have the samples along dimension 0, got a scalar tensor; pass it as a "
            "number, or bind it to the model with functools.partial"
        )
    return torch.cat([value, value])
