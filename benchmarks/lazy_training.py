"""Claim: a thinned net trains as well when only what was kept is updated.

MNIST, 784-1024-1024-10, one mask for a mini-batch of 128, rates 0.5 and 0.2 at the input that fall
linearly to 0, as the learning rate does; SGD with momentum and Adam, dense and lazy, one thread:
validation error at the end, and the seconds of training.

    python benchmarks/lazy_training.py [--epochs N] [--seeds N] [--json FILE]
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from mask_variance import Batch, error, falling_step, mini_batches, mnist
from side_by_side import measured_on, mlp
from torch.optim import SGD, Adam

from dropkit.noise import Dropout
from dropkit.thinned import LazyOptimizer, thin

OPTIMIZERS = {
    "SGD": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9),
    "Adam": lambda parameters: Adam(parameters, lr=5e-4),
}


def train(
    name: str, lazy: bool, train_on: Batch, validate_on: Batch, epochs: int, seed: int
) -> tuple[float, float]:
    torch.manual_seed(seed)
    model, _ = thin(mlp(Dropout), copy=False)
    drops = [layer for layer in model if isinstance(layer, Dropout)]
    dense = OPTIMIZERS[name](model.parameters())
    optimizer, full = LazyOptimizer(dense, model) if lazy else dense, dense.defaults["lr"]
    batches = [b for e in range(epochs) for b in mini_batches(train_on, 128, 1000 * seed + e)]
    start = time.perf_counter()
    for step, batch in enumerate(batches):
        falling_step(model, drops, optimizer, full, batch, left=1 - step / len(batches))
    seconds = time.perf_counter() - start
    return error(model, validate_on), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    images = mnist()
    rows = []
    for name in OPTIMIZERS:
        for lazy in (False, True):
            made = [train(name, lazy, *images, chosen.epochs, s) for s in range(chosen.seeds)]
            errors, seconds = zip(*made, strict=True)
            rows.append({"optimizer": name, "lazy": lazy, "errors": errors, "seconds": seconds})
            print(
                f"{name}, {'lazy' if lazy else 'dense'}: {statistics.fmean(errors):.2f} % "
                f"({', '.join(f'{e:.2f}' for e in errors)}) in {statistics.median(seconds):.1f} s",
                flush=True,
            )
    if chosen.json is not None:
        record = {"claim": __doc__, "measured_on": measured_on(), "rows": rows}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
