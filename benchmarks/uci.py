"""Claim: Monte-Carlo dropout reaches the published test RMSE on four UCI regression sets.

The protocol of Gal & Ghahramani (2016): one hidden layer of 50 ReLU units, dropout before both
layers of weights, Adam, batches of 128, the 20 published splits, and for each split the rate and
the precision of the published grid that are best on the last fifth of its training part; then the
network is trained anew on all of it, and predicts the test part once. The precision enters the
weight decay alone, since the error does not depend on the noise of the targets.

The learning rate, 0.01 falling to 0 along a line, and 50 times the published number of epochs are
our own; results/uci.md says how they were chosen. All networks of a rate are trained together, as
one module over a stack of weights: Adam and the gradient of a sum act on each as if it were alone.

    python benchmarks/uci.py FOLDER [--sets yacht ...] [--multiple 50] [--samples 1000]
        [--threads 1] [--seed 0] [--json FILE]

FOLDER holds the published files, as SET/data/data.txt, SET/data/index_train_0.txt and so on.
"""

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from side_by_side import report
from torch import Tensor, nn

from dropkit.noise import Dropout
from dropkit.prediction import predict

# Test RMSE and its standard error over the splits: theirs, one hidden layer, ten times the epochs.
PUBLISHED = {
    "bostonHousing": (2.90, 0.18),
    "concrete": (4.82, 0.16),
    "energy": (0.54, 0.06),
    "yacht": (0.67, 0.05),
}
BATCH, LENGTH_SCALE, LEARNING_RATE = 128, 1e-2, 1e-2


class Split(NamedTuple):
    """Inputs ``(examples, features)`` and targets ``(examples,)`` to learn from and to predict."""

    x: Tensor
    y: Tensor
    x_new: Tensor
    y_new: Tensor


class Stack(nn.Module):
    """Networks side by side: (examples, networks, features) → (examples, networks)."""

    def __init__(self, networks: int, features: int, hidden: int, p: float) -> None:
        super().__init__()
        self.drop_input, self.drop_hidden = Dropout(p), Dropout(p)
        self.first, self.first_bias = self._layer(networks, features, hidden)
        self.last, self.last_bias = self._layer(networks, hidden, 1)

    @staticmethod
    def _layer(networks: int, inputs: int, outputs: int) -> tuple[nn.Parameter, nn.Parameter]:
        bound = math.sqrt(6 / (inputs + outputs))  # Glorot & Bengio (2010)
        weight = torch.empty(networks, inputs, outputs).uniform_(-bound, bound)
        return nn.Parameter(weight), nn.Parameter(torch.zeros(networks, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop_input(x).transpose(0, 1)
        hidden = torch.baddbmm(self.first_bias, x, self.first).relu()
        output = torch.baddbmm(self.last_bias, self.drop_hidden(hidden), self.last)
        return output.squeeze(2).transpose(0, 1)

    def penalty(self, decay: Tensor) -> Tensor:
        return sum((decay * p.square().sum((1, 2))).sum() for p in self.parameters())


def rmse(splits: list[Split], p: float, taus: list[float], epochs: int, samples: int) -> Tensor:
    """Train a network for each split and precision, and return their errors on what is new."""
    assert len(splits) == len(taus)
    x, y, x_new, y_new = (torch.stack(parts, 1) for parts in zip(*splits, strict=True))
    x_mean, x_scale = x.mean(0), x.std(0, correction=0)
    x_scale[x_scale == 0] = 1
    y_mean, y_scale = y.mean(0), y.std(0, correction=0)
    x, x_new, y = (x - x_mean) / x_scale, (x_new - x_mean) / x_scale, (y - y_mean) / y_scale
    model = Stack(len(splits), x.shape[2], 50, p)
    decay = LENGTH_SCALE**2 * (1 - p) / (2 * len(x) * torch.tensor(taus))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    steps = epochs * math.ceil(len(x) / BATCH)
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for inputs, targets in zip(x[order].split(BATCH), y[order].split(BATCH), strict=True):
            loss = (model(inputs) - targets).square().mean(0).sum() + model.penalty(decay)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            falling.step()
    mean = predict(model, x_new, samples).mean * y_scale + y_mean
    return (mean - y_new).square().mean(0).sqrt()


def read(folder: Path) -> tuple[list[Split], list[float], list[float], int]:
    """Return the splits, the grids of rates and precisions, and the number of epochs."""

    def numbers(name: str) -> np.ndarray:
        return np.loadtxt(folder / name, ndmin=1)

    data = torch.tensor(np.loadtxt(folder / "data.txt"), dtype=torch.float32)
    x = data[:, numbers("index_features.txt").astype(int)]
    y = data[:, int(numbers("index_target.txt")[0])]
    splits = []
    for split in range(int(numbers("n_splits.txt")[0])):
        train, test = (
            numbers(f"index_{part}_{split}.txt").astype(int) for part in ("train", "test")
        )
        splits.append(Split(x[train], y[train], x[test], y[test]))
    assert numbers("n_hidden.txt")[0] == 50
    rates, taus = (numbers(name).tolist() for name in ("dropout_rates.txt", "tau_values.txt"))
    return splits, rates, taus, int(numbers("n_epochs.txt")[0])


def held_out(split: Split) -> Split:
    """Return the training part alone, its last fifth to be predicted."""
    n = int(0.8 * len(split.x))
    return Split(split.x[:n], split.y[:n], split.x[n:], split.y[n:])


def run(folder: Path, multiple: int, samples: int) -> Tensor:
    """Return the test RMSE of every split."""
    splits, rates, taus, epochs = read(folder)
    grid = [(p, tau) for p in rates for tau in taus]
    errors = torch.cat(
        [
            rmse(
                [held_out(split) for _ in taus for split in splits],
                p,
                [tau for tau in taus for _ in splits],
                epochs * multiple,
                samples,
            ).reshape(len(taus), len(splits))
            for p in rates
        ]
    )
    chosen = [grid[i] for i in errors.argmin(0).tolist()]
    tested = torch.empty(len(splits))
    for p in rates:
        at = [i for i, (rate, _) in enumerate(chosen) if rate == p]
        if at:
            precisions = [chosen[i][1] for i in at]
            tested[at] = rmse([splits[i] for i in at], p, precisions, epochs * multiple, samples)
    return tested


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--multiple", type=int, default=50, help="of the published epochs")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.sets:
        torch.manual_seed(options.seed)
        start = time.perf_counter()
        errors = run(options.folder / name / "data", options.multiple, options.samples)
        mean, error = errors.mean().item(), errors.std().item() / len(errors) ** 0.5
        published, published_error = PUBLISHED[name]
        rows.append(
            {
                "set": name,
                "RMSE": mean,
                "standard error": error,
                "published": published,
                "published error": published_error,
                "reached": "yes" if mean <= published + published_error else "no",
                "seconds": time.perf_counter() - start,
            }
        )
        print(rows[-1], flush=True)
    report(__doc__, rows, options.json)


if __name__ == "__main__":
    main()
