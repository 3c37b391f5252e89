"""Head dropout: drop whole attention heads, so that the network does not rely on a few heads."""

from typing import Any

from torch import Tensor, nn

from dropkit.noise import _attention as parts
from dropkit.noise._base import HoldsNoise
from dropkit.noise._dropout import Dropout


class HeadDropout(nn.MultiheadAttention, HoldsNoise):
    """Multi-head attention that drops whole heads in training, separately for each sample.

    ``y = Σᵢ mᵢ Wᵢ headᵢ(q, k, v) + b``, where Wᵢ are the columns of ``out_proj`` for head i. Each
    sample draws mᵢ ∈ {0, 1/(1 − p)} for each head; all positions share mᵢ, and E m = 1. So ``E y``
    is the attention without dropout, and ``Var y = p/(1 − p) · Σᵢ (Wᵢ headᵢ)²``. In evaluation the
    layer is ordinary attention, and uses torch's fast paths.

    The layer replaces an ``nn.MultiheadAttention`` and has the same parameters, ``state_dict``
    keys, arguments, masks and return values. The attention's own dropout, which drops single
    weights, stays active in training. To replace all attention in a model::

        model, _ = surgery.wrap(model, partial(HeadDropout, p=0.2), nn.MultiheadAttention)

    In your own attention code, apply ``Dropout2d(p)`` to the outputs of the heads, (N, heads, L,
    head_dim).

    Args:
        attention: the ``nn.MultiheadAttention``, with any of its options. Its parameters are
            shared, not copied.
        p: probability of dropping a head, in [0, 1]; to change p, set ``layer.drop.p``. The paper
            varies p during training; see ``schedule_rates``.

    Raises:
        TypeError: ``attention`` is not an ``nn.MultiheadAttention``, or is a subclass.
        ValueError: p outside [0, 1]; ``attention`` has hooks or its own forward pass, which would
            be lost. At a call in training: nested tensors, masks of the wrong shape, ``is_causal``
            without ``attn_mask``.

    >>> import torch
    >>> attention = nn.MultiheadAttention(16, 4, batch_first=True)
    >>> layer = HeadDropout(attention, p=0.25)
    >>> x = torch.randn(2, 5, 16)
    >>> layer(x, x, x, need_weights=False)[0].shape
    torch.Size([2, 5, 16])
    >>> layer.state_dict().keys() == attention.state_dict().keys()
    True

    Reference: Zhou, Ge, Xu, Wei & Zhou, "Scheduled DropHead: a regularization method for
    transformer models" (2020). Deviation: others report that the paper multiplies by heads / (heads
    kept). This factor has two drawbacks: it is undefined if no head is kept, and it makes the mean
    of a head's mask differ from 1. This layer uses the constant 1/(1 − p).
    """

    def __init__(self, attention: nn.MultiheadAttention, p: float = 0.2) -> None:
        if type(attention) is not nn.MultiheadAttention:
            raise TypeError(
                f"attention must be an nn.MultiheadAttention itself, got {type(attention).__name__}"
                "; for other attention apply Dropout2d to the outputs of the heads, (N, heads, L, "
                "head_dim), and remove parametrizations"
            )
        given: Any = attention
        if "forward" in vars(given) or any(
            hooks for name, hooks in vars(given).items() if name.endswith("_hooks")
        ):
            raise ValueError(
                "attention must not have hooks or its own forward pass, because its replacement "
                "would lose them; wrap it first, and register hooks afterwards"
            )
        super().__init__(
            given.embed_dim,
            given.num_heads,
            given.dropout,
            bias=given.in_proj_bias is not None,
            add_bias_kv=given.bias_k is not None,
            add_zero_attn=given.add_zero_attn,
            kdim=given.kdim,
            vdim=given.vdim,
            batch_first=given.batch_first,
            device="meta",  # allocate nothing: the given parameters are used
        )
        self._parameters.update(given._parameters)
        self._modules.update(given._modules)
        self.drop = Dropout(p, shared_dims=(-2, -1))
        self.train(given.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what ``nn.MultiheadAttention`` returns; the weights include dropped heads."""
        if not self.drop.training:
            return super().forward(
                query,
                key,
                value,
                key_padding_mask,
                need_weights,
                attn_mask,
                average_attn_weights,
                is_causal,
            )
        given = parts.inputs(
            self, query, key, value, key_padding_mask, attn_mask, is_causal, need_weights
        )
        projected = parts.projections(self, given, nn.functional.linear)
        q, k, v = (parts.heads(self, x) for x in projected)
        k, v, mask = parts.append_learned_keys(self, k, v, given.mask)
        dropout = self.dropout if self.training else 0.0
        read, weights = parts.attend(q, k, v, mask, given.is_causal, dropout, need_weights)
        dropped: Tensor = self.drop(read)
        y = nn.functional.linear(
            dropped.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias
        )
        if weights is not None:
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if query.dim() == 2 else weights
        return parts.output(self, y, query), weights
