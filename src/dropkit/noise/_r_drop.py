"""R-Drop: make two passes with dropout over the same batch agree."""

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

    ``L = ½ (CE(P₁, y) + CE(P₂, y)) + α/2 · (KL(P₁‖P₂) + KL(P₂‖P₁))``, P the softmax of the logits,
    averaged over the samples. Without dropout, as in evaluation, both passes agree and L is the
    cross-entropy.

    Args:
        logits1: (N, C) or (N, C, …), of the first pass, as ``F.cross_entropy`` takes them; −∞ for
            a class that both passes exclude.
        logits2: of the second pass over the same batch, of the same shape.
        target: classes (N) or (N, …), int64; or probabilities of the shape of the logits.
        alpha: weight of the divergence, 0 or more.
        ignore_index: places with this class, such as padding, count in neither term.

    Returns:
        A scalar, in float32 at least; NaN if every place is ignored.

    Raises:
        ValueError: logits of different shapes, or fewer than two dimensions; alpha negative or not
            finite.

    >>> logits1, logits2 = torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> r_drop_loss(logits1, logits2, torch.tensor([0, 2]), alpha=0.5)
    tensor(0.9922)

    Reference: Liang, Wu, Li, Wang, Meng, Qin, Chen, Zhang & Liu, "R-Drop: regularized dropout for
    neural networks" (2021). Their formula, according to secondary sources, adds the two
    cross-entropies where this one takes their mean, so that their α is twice this one.
    """
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be a finite number, 0 or more, got {alpha}")
    if logits1.shape != logits2.shape or logits1.dim() < 2:
        raise ValueError(
            "the logits of both passes must have one shape (N, C) or (N, C, …), got "
            f"{tuple(logits1.shape)} and {tuple(logits2.shape)}"
        )
    exact = torch.promote_types(logits1.dtype, torch.float32)
    log_p, log_q = (logits.to(exact).log_softmax(1) for logits in (logits1, logits2))
    entropies = [_cross_entropy(log, target, ignore_index) for log in (log_p, log_q)]
    return sum(entropies) / 2 + alpha / 2 * _divergence(log_p, log_q, target, ignore_index)


def _cross_entropy(log: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    if target.is_floating_point():  # a class of probability 0 may be excluded, and 0 · ∞ is none
        return -(target * log.masked_fill(target == 0, 0)).sum(1).mean()
    return F.cross_entropy(log, target, ignore_index=ignore_index)


def _divergence(log_p: Tensor, log_q: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Return KL(P‖Q) + KL(Q‖P) = Σ (P − Q)(log P − log Q), its mean over the places that count."""
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

    ``(y₁, y₂) = split(model([x; x]))``. Dropout draws different masks for the second half. Noise
    that is shared by all samples of a call (``DropConnect``, ``WeightDrop``, ``TargetedDropout``,
    ``EmbeddingDropout``, ``LayerDrop``, thinned layers) does not: call such a model two times.

    Args:
        model: module or function; returns a tensor with the samples along dimension 0.
        inputs: its arguments. Tensors are doubled along dimension 0, all else is passed on.
        options: its keyword arguments, treated alike.

    Returns:
        The outputs of the two halves.

    Raises:
        ValueError: a tensor without dimensions among the arguments; a model that does not return
            one output for each sample.

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
