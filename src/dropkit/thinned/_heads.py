"""Attention that computes only the kept heads, with parts of its projection weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.noise import Dropout, HeadDropout
from dropkit.noise import _attention as parts
from dropkit.thinned._layers import why_not
from dropkit.thinned._linear import linear
from dropkit.thinned._units import Units


class Heads:
    """The forward pass of a thinned ``HeadDropout``, which computes only the kept heads.

    Args:
        module: the layer, whose parameters are used.
        units: the heads of the layer.
    """

    def __init__(self, module: nn.Module, units: Units) -> None:
        self.module: Any = module
        self.units = units

    @property
    def saved(self) -> float:
        """The fraction of multiplications that the layer saves at the current rate."""
        return 1.0 - self.units.share

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:
        module, kept = self.module, None
        # Check the mode of out_proj, not of the module: Monte-Carlo sampling switches on the module
        # itself, to drop single weights.
        if not need_weights and module.out_proj.training:
            given = parts.inputs(
                module, query, key, value, key_padding_mask, attn_mask, is_causal, need_weights
            )
            fewer = given.query.shape[1] <= given.key.shape[1]
            kept = self.units.draw(given.query if fewer else given.key, 0)
        if kept is None:
            return type(module).forward(
                module,
                query,
                key,
                value,
                key_padding_mask,
                need_weights,
                attn_mask,
                average_attn_weights,
                is_causal,
            )
        each = torch.arange(module.head_dim, device=query.device)
        features = [(index[:, None] * module.head_dim + each).view(-1) for index in kept]

        def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            size = module.embed_dim
            starts = range(0, len(weight), size)  # of q, k and v, or of one of them
            rows = [torch.cat([some + start for start in starts]) for some in features]
            return linear(x, weight, bias, rows, None, 1.0)

        q, k, v = (parts.heads(module, x) for x in parts.projections(module, given, product))
        mask = _of_heads(given.mask, kept)
        read, _ = parts.attend(q, k, v, mask, given.is_causal, module.dropout)
        out, joined = module.out_proj, read.transpose(1, 2).flatten(2)
        y = linear(joined, out.weight, out.bias, None, features, self.units.scale)
        return parts.output(module, y, query), None


def find(model: nn.Module) -> tuple[dict[str, HeadDropout], dict[str, str]]:
    """Return the layers that drop heads, by name of their dropout, and why others stay dense."""
    found: dict[str, HeadDropout] = {}
    left: dict[str, str] = {}
    unasked = _without_weights(model)
    for path, module in model.named_modules():
        if not isinstance(module, HeadDropout):
            continue
        name = f"{path}.drop" if path else "drop"
        reason = _why_dense(module)
        if reason is None:
            found[name] = module
            if module not in unasked:
                reason = "computes all heads where it is asked for weights; pass need_weights=False"
        if reason is not None:
            left[name] = reason
    return found, left


def _without_weights(model: nn.Module) -> set[nn.Module]:
    """Return the attention modules of torch's transformer layers, which never ask for weights."""
    found: set[nn.Module] = set()
    for block in model.modules():
        if type(block) in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer):
            found |= {m for m in block.children() if isinstance(m, nn.MultiheadAttention)}
    return found


def _why_dense(module: HeadDropout) -> str | None:
    if type(module) is not HeadDropout:
        return (
            f"{type(module).__name__} is a subclass of HeadDropout, and may compute something else"
        )
    drop: Any = module.drop
    if type(drop) is not Dropout or sorted(drop.shared_dims) != [-2, -1]:
        return "does not drop whole heads"
    if module.bias_k is not None or module.add_zero_attn:
        return "adds its own keys and values for all heads"
    for part in (module, drop, module.out_proj):
        if reason := why_not(part):
            return f"{'its attention' if part is module else type(part).__name__} {reason}"
    return None


def _of_heads(mask: Tensor | None, kept: Sequence[Tensor]) -> Tensor | None:
    """Select the kept heads of each group from a mask, (1 or N, 1 or heads, …)."""
    if mask is None or mask.shape[1] == 1:
        return mask
    groups = zip(mask.tensor_split(len(kept)), kept, strict=True)
    return torch.cat([some.index_select(1, index) for some, index in groups])
