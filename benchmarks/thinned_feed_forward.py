"""Claim: a thinned feed-forward block's step takes at most 0.70 × the one without dropout.

512-2048-512 with GELU, drop 0.5 on the hidden units, 4096 tokens (8 sequences of 512) with a
gradient for the input, SGD with momentum, random data. In groups, sequences share a mask.

    python benchmarks/thinned_feed_forward.py [--device NAME] [--threads N]
           [--repeats N] [--json FILE]
"""

from collections.abc import Callable

from side_by_side import inner_step, options, report, times
from torch import nn

from dropkit.noise import Dropout
from dropkit.thinned import thin


def network(layer: Callable[[float], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 2048), nn.GELU(), layer(0.5), nn.Linear(2048, 512))


def main() -> None:
    chosen = options(__doc__)
    models = {
        "none": network(nn.Identity),
        "dropkit": network(Dropout),
        "thinned": thin(network(Dropout))[0],
        "thinned, 8 groups": thin(network(Dropout), groups=8)[0],
    }
    steps = {
        name: inner_step(model.to(chosen.device), (8, 512, 512)) for name, model in models.items()
    }
    taken = times(steps, chosen.repeats, chosen.device)
    row: dict[str, object] = {"none ms": 1e3 * taken["none"]}
    row |= {f"{name} / none": taken[name] / taken["none"] for name in list(models)[1:]}
    report(__doc__, [row], chosen.json, chosen.device)


if __name__ == "__main__":
    main()
