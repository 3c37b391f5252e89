"""Claim: on large tensors dropout costs at most 1.5 × ReLU, and a tenth of torch.nn.Dropout.

Forward and backward, p = 0.5; the bound on ReLU is for float32, the other for bfloat16 as well.

    python benchmarks/random_large.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

import torch
from side_by_side import forward_backward, options, report, times
from torch import nn

from dropkit.noise import Dropout, GaussianDropout


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for millions in (1, 4, 16) if chosen.device.type == "cpu" else (1, 4, 16, 64, 256):
            contestants = {
                "dropkit": Dropout(0.5),
                "gaussian": GaussianDropout(0.5),
                "relu": nn.ReLU(),
                "torch": nn.Dropout(0.5),
            }
            taken = times(
                {
                    name: forward_backward(layer, (millions, 1 << 20), dtype, chosen.device)
                    for name, layer in contestants.items()
                },
                chosen.repeats,
                chosen.device,
            )
            rows.append(
                {
                    "dtype": str(dtype).removeprefix("torch."),
                    "elements": millions << 20,
                    **{f"{name} ms": 1e3 * seconds for name, seconds in taken.items()},
                    "dropkit / relu": taken["dropkit"] / taken["relu"],
                    "torch / dropkit": taken["torch"] / taken["dropkit"],
                }
            )
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()
