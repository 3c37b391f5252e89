"""The steps of multi-head attention, for code that changes its heads."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Inputs:
    """The arguments of attention, batch first.

    Attributes:
        query: (N, L, features).
        key: (N, S, features); the query itself in self-attention.
        value: (N, S, features).
        mask: added to the scores; broadcasts to (N, heads, L, S). None without a mask.
        is_causal: if true, query i attends only to the keys 0 … i, and ``mask`` is None.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    is_causal: bool


def inputs(
    attention: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    is_causal: bool,
    need_weights: bool,
) -> Inputs:
    """Convert the arguments of ``nn.MultiheadAttention`` to one layout, and combine the masks."""
    tensors = query, key, value
    if any(x.is_nested for x in tensors) or {x.dim() for x in tensors} not in ({2}, {3}):
        raise ValueError(
            "query, key and value must be dense tensors, all of three dimensions, or all of two "
            f"for one sequence, got {query.dim()}, {key.dim()} and {value.dim()}; pad sequences "
            "of different lengths, and give key_padding_mask"
        )
    q = _batch_first(attention, query)
    k = q if key is query else _batch_first(attention, key)
    v = k if value is key else _batch_first(attention, value)
    if len(q) != len(k) or k.shape[:2] != v.shape[:2]:
        raise ValueError(
            "query, key and value must have the same number of sequences, and key and value the "
            f"same number of positions, got (N, positions) = {tuple(q.shape[:2])}, "
            f"{tuple(k.shape[:2])} and {tuple(v.shape[:2])}; batch_first is "
            f"{attention.batch_first}"
        )
    if key_padding_mask is not None and query.dim() == 2:
        key_padding_mask = key_padding_mask.unsqueeze(0)
    if is_causal and attn_mask is None:
        raise ValueError(
            "is_causal=True means that attn_mask is causal, so attn_mask must be given; pass "
            "nn.Transformer.generate_square_subsequent_mask(length)"
        )
    # As in torch: is_causal replaces the mask, unless padding or returned weights need the mask.
    is_causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if is_causal else _combine_masks(attention, q, k, attn_mask, key_padding_mask)
    return Inputs(q, k, v, mask, is_causal)


def projections(attention: Any, given: Inputs, linear: Any) -> list[Tensor]:
    """Return queries, keys and values of the heads, each (N, …, heads · head_dim).

    ``linear(x, weight, bias)`` computes one of these three tensors, or all three at once from
    stacked weights.
    """
    query, key, value = given.query, given.key, given.value
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if weight is not None and query is key is value:
        return list(linear(query, weight, bias).chunk(3, -1))
    own = attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight
    weights = own if weight is None else weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return [linear(*parts) for parts in zip((query, key, value), weights, biases, strict=True)]


def heads(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Reshape (N, …, heads · head_dim) to (N, heads, …, head_dim)."""
    size = attention.head_dim
    return x.view(*x.shape[:2], x.shape[-1] // size, size).transpose(1, 2)


def append_learned_keys(
    attention: Any, k: Tensor, v: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Append the layer's learned and zero keys and values to k and v, (N, heads, S, head_dim)."""
    if attention.bias_k is not None:
        more_k, more_v = (heads(attention, x) for x in (attention.bias_k, attention.bias_v))
        k = torch.cat([k, more_k.expand(len(k), -1, -1, -1)], 2)
        v = torch.cat([v, more_v.expand(len(v), -1, -1, -1)], 2)
    if attention.add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    if mask is not None and mask.shape[-1] < k.shape[2]:
        mask = F.pad(mask, (0, k.shape[2] - mask.shape[-1]))
    return k, v, mask


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    dropout: float,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return the heads' outputs (N, heads, L, head_dim), and weights (N, heads, L, S) if needed."""
    if not need_weights:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal), None
    scores = q / math.sqrt(q.shape[-1]) @ k.mT
    weights = (scores if mask is None else scores + mask).softmax(-1)
    if dropout > 0:
        weights = F.dropout(weights, dropout)
    return weights @ v, weights


def output(attention: nn.MultiheadAttention, y: Tensor, query: Tensor) -> Tensor:
    """Convert the output y (N, L, features) to the layout of the query."""
    if query.dim() == 2:
        return y.squeeze(0)
    return y if attention.batch_first else y.transpose(0, 1)


def _batch_first(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    if x.dim() == 2:
        return x.unsqueeze(0)
    return x if attention.batch_first else x.transpose(0, 1)


def _combine_masks(
    attention: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
) -> Tensor | None:
    """Return the sum of the masks, of shape (1 or N, 1 or heads, 1 or L, S)."""
    batch, length, number = len(query), query.shape[1], attention.num_heads
    pair = length, key.shape[1]
    joined = None
    if attn_mask is not None:
        if attn_mask.shape not in (pair, (batch * number, *pair)):
            raise ValueError(
                f"attn_mask must be (L, S) = {pair} or (N · heads, L, S) = "
                f"{(batch * number, *pair)}, got {tuple(attn_mask.shape)}"
            )
        joined = _make_additive(attn_mask, query).reshape(
            -1, number if attn_mask.dim() == 3 else 1, *pair
        )
    if key_padding_mask is not None:
        if key_padding_mask.shape != key.shape[:2]:
            raise ValueError(
                f"key_padding_mask must be (N, S) = {tuple(key.shape[:2])}, got "
                f"{tuple(key_padding_mask.shape)}"
            )
        padding = _make_additive(key_padding_mask, query)[:, None, None]
        joined = padding if joined is None else joined + padding
    return joined


def _make_additive(mask: Tensor, like: Tensor) -> Tensor:
    """Convert a mask to numbers that are added to the scores; true hides a key."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)
    return mask.to(like.dtype)
