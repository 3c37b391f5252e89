"""Claim: on a GPU a compiled step with dropout takes at most 1.02 × the one with torch.nn.Dropout.

A training step of an MLP (784-1024-1024-10) and of a transformer block (three dropouts of 0.1),
compiled by `torch.compile` in its default mode and, on a GPU, with `mode="reduce-overhead"`. The
claim is for a GPU. On a CPU dropkit's operator is not fused, and the numbers say what that costs.

    python benchmarks/random_compiled.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from side_by_side import inner_step, mlp, options, report, times, training_step
from torch import Tensor, nn

from dropkit.noise import Dropout

LAYERS: dict[str, Callable[[float], nn.Module]] = {
    "none": lambda p: nn.Identity(),
    "torch": nn.Dropout,
    "dropkit": Dropout,
}


class Block(nn.Module):
    """A transformer block: attention and two layers of units, each behind a normalization."""

    def __init__(self, layer: Callable[[float], nn.Module], features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(features)
        self.qkv = nn.Linear(features, 3 * features)
        self.out = nn.Linear(features, features)
        self.drop = layer(0.1)
        self.units = nn.Sequential(
            *(nn.LayerNorm(features), nn.Linear(features, 4 * features), nn.GELU(), layer(0.1)),
            *(nn.Linear(4 * features, features), layer(0.1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.before(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.drop(self.out(attended))
        return x + self.units(x)


def step(model: str, layer: str, mode: str, device: torch.device) -> Callable[[], None]:
    """Return a timed step of a compiled model."""
    gpu = device.type == "cuda"
    if model == "mlp":
        net: nn.Module = mlp(LAYERS[layer]).to(device)
        fast = torch.compile(net, mode=mode)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        return training_step(fast, (512 if gpu else 128, 784), optimizer)
    features, rows = (1024, (16, 512)) if gpu else (256, (8, 64))
    net = Block(LAYERS[layer], features, features // 64).to(device)
    return inner_step(torch.compile(net, mode=mode), (*rows, features))


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for mode in ("default", "reduce-overhead") if chosen.device.type == "cuda" else ("default",):
        for model in ("mlp", "block"):
            taken = times(
                {layer: step(model, layer, mode, chosen.device) for layer in LAYERS},
                chosen.repeats,
                chosen.device,
            )
            rows.append(
                {
                    "model": model,
                    "mode": mode,
                    **{f"{layer} ms": 1e3 * seconds for layer, seconds in taken.items()},
                    "torch / none": taken["torch"] / taken["none"],
                    "dropkit / none": taken["dropkit"] / taken["none"],
                    "dropkit / torch": taken["dropkit"] / taken["torch"],
                }
            )
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()
