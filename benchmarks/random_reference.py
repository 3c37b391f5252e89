"""Claim: without the C extension dropout is not slower than torch.nn.Dropout.

The kernel is switched off, so that the reference in integer operations does the work; forward and
backward, float32, p = 0.5.

    python benchmarks/random_reference.py [--threads N] [--repeats N] [--json FILE]
"""

import torch
from side_by_side import forward_backward, options, report, times
from torch import nn

from dropkit.noise import Dropout
from dropkit.random import dispatch


def main() -> None:
    chosen = options(__doc__)
    dispatch._kernel = None
    rows = []
    for shape in ((128, 1024), (1024, 1024), (4096, 1024)):
        contestants = {"reference": Dropout(0.5), "torch": nn.Dropout(0.5)}
        taken = times(
            {
                name: forward_backward(layer, shape, torch.float32)
                for name, layer in contestants.items()
            },
            chosen.repeats,
        )
        rows.append(
            {
                "shape": "×".join(map(str, shape)),
                **{f"{name} ms": 1e3 * seconds for name, seconds in taken.items()},
                "torch / reference": taken["torch"] / taken["reference"],
            }
        )
    report(__doc__, rows, chosen.json)


if __name__ == "__main__":
    main()
