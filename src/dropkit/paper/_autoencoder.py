"""The autoencoder of figures 7 and 8: 784-256-784, without dropout and with p = 0.5."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dropkit.paper._experiment import Size
from dropkit.paper._mnist import INPUTS, digits
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Budget
from dropkit.paper._train import Protocol, fit
from dropkit.paper._trainings import Settings, Trainings
from dropkit.schedule import constant, momentum_ramp

WAYS = {"without dropout": 0.0, "dropout": 0.5}
SIDE = 28
BINS = 100

_AS_THE_PAPER = Size(
    "The paper's autoencoder: 256 hidden units, 100,000 updates; learning rate 0.01 where the "
    "first author's settings have 0.1, at which units die under this loss.",
    {"units": 256, "updates": 100_000},
    complete=True,
)
SIZES: dict[Budget, Size] = {
    "quick": Size(
        "256 hidden units as in the paper, 1,000 updates (100,000): training has only begun.",
        {"units": 256, "updates": 1000},
    ),
    "short": _AS_THE_PAPER,
    "full": _AS_THE_PAPER,
}


def train_both(
    trainings: Trainings, units: int, updates: int, data_dir: str | None
) -> dict[str, dict[str, Any]]:
    """Train the autoencoder without and with dropout."""
    settings: list[Settings] = [
        {"p": p, "units": units, "updates": updates, "data_dir": data_dir} for p in WAYS.values()
    ]
    return dict(zip(WAYS, trainings.all(train_autoencoder, settings), strict=True))


def train_autoencoder(
    *, p: float, units: int, updates: int, data_dir: str | None, seed: int = 0
) -> dict[str, Any]:
    """Train one autoencoder, and return statistics of its hidden layer.

    The loss is half the squared distance between an image and its reconstruction. The initial
    weights have standard deviation 0.01, the momentum increases from 0.5 to 0.9, and L2 is 0.001.
    The learning rate is 0.01, because at the author's 0.1 units die under this loss.

    Returns:
        ``features``: the incoming weights of every unit; ``reconstruction``: the squared distance
        per test image; ``unit_means``: each unit's mean activation over the test images; ``counts``
        and ``edges``: the histogram of all activations; ``zeros``: the fraction of activations that
        are exactly 0.
    """
    data = digits(data_dir)
    net = mlp((INPUTS, units, INPUTS), p=p).to(data.x.device)
    generator = torch.Generator().manual_seed(seed)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01, generator=generator)
    momentum = momentum_ramp(0.5, 0.9, updates / 10)
    protocol = Protocol(updates, constant(0.01), momentum, weight_decay=0.001)
    for _ in fit(net, data.x, data.x, protocol, seed=seed, loss=_half_square, at=(updates,)):
        pass
    with torch.inference_mode():
        hidden = net[:2](data.x_test)
        distance = (net(data.x_test) - data.x_test).square().sum(1).mean()
        counts, edges = torch.histogram(hidden.cpu(), BINS, range=(0.0, float(hidden.max())))
    first = net[0]
    assert isinstance(first, nn.Linear)
    return {
        "features": [[round(w, 5) for w in unit] for unit in first.weight.tolist()],
        "reconstruction": float(distance),
        "unit_means": hidden.mean(0).tolist(),
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "zeros": float((hidden == 0).float().mean()),
    }


def _half_square(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum(1).mean() / 2
