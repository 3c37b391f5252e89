"""Images: a convolutional net on Fashion-MNIST, with dropout in all or only in dense layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dropkit.noise import Dropout
from dropkit.paper._domain import BASELINE, contest, rows_of, train_net
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._outcome import Outcome
from dropkit.paper._train import authors
from dropkit.paper._trainings import Trainings

# Rates of dropping before the three convolutions and the three dense layers.
RATES = {
    BASELINE: (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "dropout in the dense layers": (0.0, 0.0, 0.0, 0.5, 0.5, 0.5),
    "dropout in all layers": (0.1, 0.25, 0.25, 0.5, 0.5, 0.5),
}


def conv_net(rates: tuple[float, ...], channels: list[int], dense: int, seed: int) -> nn.Sequential:
    """Return a net with three 5×5 convolutions, max pooling and two dense layers, for ten classes.

    Args:
        rates: dropout rates before each of the six layers.
        channels: numbers of channels of the convolutions.
        dense: width of the dense hidden layers.
        seed: random seed of the weights.
    """
    layers: list[nn.Module] = []
    side, inputs = 28, 1
    for rate, outputs in zip(rates[:3], channels, strict=True):
        layers += [Dropout(rate)] if rate else []
        layers += [nn.Conv2d(inputs, outputs, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        inputs, side = outputs, (side + 1) // 2
    layers.append(nn.Flatten())
    inputs *= side * side
    for i, rate in enumerate(rates[3:]):
        layers += [Dropout(rate)] if rate else []
        outputs = 10 if i == 2 else dense
        layers += [nn.Linear(inputs, outputs)] + ([] if i == 2 else [nn.ReLU()])
        inputs = outputs
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def train_images(
    *, way: str, seed: int, channels: list[int], dense: int, updates: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net; ``way`` is a key of `RATES`."""
    net = conv_net(RATES[way], channels, dense, seed)
    rows = rows_of("fashion-mnist", 0, data_dir)
    return train_net(net, rows, authors(updates, lr=0.1, max_norm=4.0), seed)


def run(
    trainings: Trainings, *, channels: list[int], dense: int, updates: int, seeds: int, **data: Any
) -> Outcome:
    """Compare the three ways of using dropout."""
    settings = {"ways": list(RATES), "channels": channels, "dense": dense, "updates": updates}
    paper = "SVHN: 3.95 → 3.02 dense only → 2.55 all layers; CIFAR-10: 15.60 → 14.32 → 12.61 †"
    return contest(trainings, train_images, settings | data, seeds, paper)


EXPERIMENT = Experiment(
    name="images",
    title="A convolutional net on Fashion-MNIST: dropout in all layers, or in the dense ones only",
    source="Srivastava et al. 2014, sections 6.1.2 and 6.1.3, on other data",
    run=run,
    data="fashion-mnist",
    sizes={
        "quick": Size(
            "Fashion-MNIST in place of SVHN and CIFAR; 8-8-16 channels (the paper: 96-128-256) and "
            "64 dense units (2048), 60 updates, one seed. Far too short to settle anything.",
            {"channels": [8, 8, 16], "dense": 64, "updates": 60, "seeds": 1},
        ),
        "short": Size(
            "Fashion-MNIST in place of SVHN and CIFAR; 16-32-64 channels (the paper: 96-128-256) "
            "and 512 dense units (2048), 2,000 updates, two seeds.",
            {"channels": [16, 32, 64], "dense": 512, "updates": 2000, "seeds": 2},
        ),
        "full": Size(
            "Fashion-MNIST in place of SVHN and CIFAR; the paper's 96-128-256 channels and 2048 "
            "dense units, 300,000 updates, five seeds. The paper's number of updates for these "
            "nets is unknown to us.",
            {"channels": [96, 128, 256], "dense": 2048, "updates": 300_000, "seeds": 5},
        ),
    },
)
