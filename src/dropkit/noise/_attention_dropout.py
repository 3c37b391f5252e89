"""Attention dropout: drop attention weights in training only."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit.noise._base import HoldsNoise
from dropkit.noise._dropout import Dropout, dropout


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    p: float | Tensor = 0.1,
    training: bool = True,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Compute attention, with dropout on the attention weights in training only.

    ``y = (softmax(q kᵀ · scale + mask) ⊙ m) v``, m = 0 with probability p and 1/(1 − p) otherwise,
    so that E y is the attention without dropout. ``F.scaled_dot_product_attention`` drops whenever
    its ``dropout_p`` is above 0, also in evaluation; this function drops only if ``training`` is
    true.

    Args:
        query: (…, L, E); float32, float64, bfloat16 or float16.
        key: (…, S, E).
        value: (…, S, D).
        attn_mask: broadcasts to (…, L, S). Bool: true where a query may attend to a key. Float:
            added to the scores. A query without any key gets zeros.
        p: probability of dropping a weight, in [0, 1]. Pass a scalar tensor to change p without
            recompiling.
        training: if false, nothing is dropped; inside a module pass ``self.training``.
        is_causal: if true, query i attends only to the keys 0 … i; then ``attn_mask`` must be None.
        scale: factor of the scores. Default: 1/√E.
        enable_gqa: if true, groups of heads of ``query`` share a head of ``key`` and ``value``; the
            heads are dimension −3.
        seed: random seed of the mask; the mask equals ``keep_mask((…, L, S), p, seed=seed)``.
            Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        (…, L, D). Evaluation uses torch's fused kernels. Training stores the L × S weights.

    Raises:
        TypeError: ``query`` is not a dense tensor of a supported floating type.
        ValueError: both ``attn_mask`` and ``is_causal``; p, seed or stream out of range; both
            seed and generator given.

    >>> q = k = v = torch.randn(2, 4, 5, 8)
    >>> scaled_dot_product_attention(q, k, v, p=0.1, is_causal=True).shape
    torch.Size([2, 4, 5, 8])

    Reference: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser & Polosukhin, "Attention
    is all you need" (2017). Others report that the authors' code drops attention weights, and that
    the paper does not mention this.
    """
    _check_masks(attn_mask, is_causal)
    if not training:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    weights = _weights(query, key, attn_mask, is_causal, scale, enable_gqa)
    dropped = dropout(weights, p, seed=seed, stream=stream, generator=generator)
    return dropped @ _repeat_heads(value, query, enable_gqa)


class AttentionDropout(nn.Module, HoldsNoise):
    """Scaled dot-product attention as a layer that drops attention weights in training.

    ``y = (softmax(q kᵀ · scale + mask) ⊙ m) v``, m ∈ {0, 1/(1 − p)}, E m = 1. So E y is the
    attention without dropout, and ``Var y = p/(1 − p) · Σₛ wₛ² vₛ²``, where w are the weights of a
    query. In evaluation torch's fused kernels run without dropout. If your own code computes the
    weights, use ``Dropout`` after the softmax instead.

    Args:
        p: probability of dropping a weight, in [0, 1]; to change p, set ``layer.drop.p``.

    Raises:
        ValueError: p outside [0, 1]; at the call, both ``attn_mask`` and ``is_causal``.

    >>> attend = AttentionDropout(0.1)
    >>> q = k = v = torch.randn(2, 4, 5, 8)
    >>> attend(q, k, v, is_causal=True).shape
    torch.Size([2, 4, 5, 8])

    Reference: Vaswani et al. (2017).
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.drop = Dropout(p)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return the attention; arguments as in ``scaled_dot_product_attention``."""
        _check_masks(attn_mask, is_causal)
        if not self.drop.training:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
            )
        weights: Tensor = self.drop(_weights(query, key, attn_mask, is_causal, scale, enable_gqa))
        return weights @ _repeat_heads(value, query, enable_gqa)


def _check_masks(attn_mask: Tensor | None, is_causal: bool) -> None:
    if attn_mask is not None and is_causal:
        raise ValueError(
            "give attn_mask or is_causal, not both; combine the causal mask with attn_mask"
        )


def _weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    """Return softmax(q kᵀ · scale + mask), with zeros for a query that has no key."""
    if is_causal:
        shape = query.shape[-2], key.shape[-2]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=query.device).tril()
    # Scale before the product, because the product could overflow in float16.
    query = query * (query.shape[-1] ** -0.5 if scale is None else scale)
    scores = query @ _repeat_heads(key, query, enable_gqa).mT
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    else:
        scores = scores + attn_mask
    # For a query without keys, the first fill avoids NaN, also in the gradient. The second fill
    # replaces the resulting uniform weights by zeros.
    blind = (scores == -math.inf).all(-1, keepdim=True)
    return scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0).to(query.dtype)


def _repeat_heads(heads: Tensor, query: Tensor, enable_gqa: bool) -> Tensor:
    """Repeat the heads of keys or values, so that each query head has its own copy."""
    if not enable_gqa:
        return heads
    return heads.repeat_interleave(query.shape[-3] // heads.shape[-3], dim=-3)
