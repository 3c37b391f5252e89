"""Claim: a thinned self-attention layer's step takes at most 0.70 × the one without dropout.

512 features, 8 heads, drop 0.5 on heads, 32 sequences of 128 with a gradient for the input, SGD
with momentum, random data; and a whole encoder layer, 512-2048-512, that drops 0.5 of its heads
and of its hidden units and nothing else.

    python benchmarks/thinned_attention.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

from collections.abc import Callable

import torch
from side_by_side import inner_step, options, report, times
from torch import Tensor, nn

from dropkit.noise import Dropout, HeadDropout
from dropkit.thinned import thin


class SelfAttention(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        attention = nn.MultiheadAttention(512, 8, batch_first=True)
        self.attention = HeadDropout(attention, p) if p else attention

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return y


def encoder_layer(p: float) -> nn.Module:
    block = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    for name in ("dropout", "dropout1", "dropout2"):
        setattr(block, name, nn.Identity())
    if p:
        block.self_attn = HeadDropout(block.self_attn, p)
        block.dropout = Dropout(p)
    return block


def row(
    name: str, network: Callable[[float], nn.Module], repeats: int, device: torch.device
) -> dict[str, object]:
    models = {
        "none": network(0.0),
        "dropkit": network(0.5),
        "thinned": thin(network(0.5))[0],
        "thinned, 8 groups": thin(network(0.5), groups=8)[0],
    }
    steps = {kind: inner_step(model.to(device), (32, 128, 512)) for kind, model in models.items()}
    taken = times(steps, repeats, device)
    ratios = {f"{kind} / none": taken[kind] / taken["none"] for kind in list(models)[1:]}
    return {"network": name, "none ms": 1e3 * taken["none"]} | ratios


def main() -> None:
    chosen = options(__doc__)
    networks = {"self-attention": SelfAttention, "encoder layer": encoder_layer}
    rows = [row(name, network, chosen.repeats, chosen.device) for name, network in networks.items()]
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()
