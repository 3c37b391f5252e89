"""MNIST as in the paper, and the training function of most of its figures and tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.noise import Dropout, GaussianDropout
from dropkit.paper._nets import mlp
from dropkit.paper._penalties import KLSparsity, l1
from dropkit.paper._train import authors, authors_dropout, authors_plain, falling, fit, plain
from dropkit.study.data import load

VALIDATION = 10_000  # training images held out for tuning
INPUTS, CLASSES = 784, 10


DROP = {"p": 0.5, "p_input": 0.2}
"""The arguments of `train_mlp` for the paper's usual rates."""

AS_COMPARE: dict[str, Any] = {"protocol": "falling", "lr": 0.05, "max_norm": None}
"""The arguments of `train_mlp` that train as `dropkit compare` does."""

DROPPED_AS_COMPARE = AS_COMPARE | DROP | {"max_norm": 3.0}
"""The same arguments for a net with dropout."""

FEW = 5_000
"""Training images of short runs that train as `dropkit compare` does, so that nets overfit soon."""

LIKE_COMPARE = (
    "The paper's schedules need far more updates, so the nets train as in `dropkit compare`: "
    "learning rate 0.05, which decreases linearly to 0, and momentum 0.9, for all nets alike"
)
ON_FEW = (
    f"Only the first {FEW:,} training images are used (60,000), so that the nets overfit within "
    "minutes"
)


PROTOCOLS = {
    "authors": authors,
    "authors-dropout": authors_dropout,
    "authors-plain": authors_plain,
    "plain": plain,
    "falling": falling,
}


@dataclass(frozen=True)
class Digits:
    """Pixels in [0, 1], one row per image, and the digits."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor


@lru_cache(maxsize=1)
def digits(data_dir: str | None, validate: bool = False) -> Digits:
    """Load MNIST on the training device.

    Args:
        data_dir: the folder with the data sets.
        validate: whether to use the last 10,000 training images as test images; if there are fewer
            than 60,000 training images, the last sixth.
    """
    data = load("mnist", data_dir=data_dir)
    assert data.X_test is not None
    assert data.y_test is not None
    x, y, x_test, y_test = data.X, data.y, data.X_test, data.y_test
    if validate:
        kept = len(x) - min(VALIDATION, len(x) // 6)
        x, y, x_test, y_test = x[:kept], y[:kept], x[kept:], y[kept:]
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def pixels(images: Any) -> Tensor:
        flat = images.reshape(len(images), -1).astype(np.float32) / 255
        return torch.from_numpy(flat).to(device)

    def labels(of: Any) -> Tensor:
        return torch.from_numpy(of.astype(np.int64)).to(device)

    return Digits(pixels(x), labels(y), pixels(x_test), labels(y_test))


def error(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the percentage of rows that ``net`` classifies wrongly."""
    with torch.inference_mode():
        parts = zip(torch.split(x, 2000), torch.split(y, 2000), strict=True)
        wrong = sum(int((net(images).argmax(1) != labels).sum()) for images, labels in parts)
    return 100 * wrong / len(x)


def train_mlp(
    *,
    hidden: list[int],
    updates: int,
    p: float = 0.0,
    p_input: float = 0.0,
    protocol: str = "authors",
    lr: float = 1.0,
    max_norm: float | None = 3.0,
    weight_decay: float = 0.0,
    activation: Literal["ReLU", "Sigmoid"] = "ReLU",
    noise: Literal["dropout", "gaussian"] = "dropout",
    pieces: int = 1,
    l1_late: float = 0.0,
    sparsity: float = 0.0,
    rows: int | None = None,
    validate: bool = False,
    points: int = 1,
    seed: int = 0,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Train one fully connected net on MNIST and return its errors in %.

    Args:
        hidden: widths of the hidden layers.
        updates: number of weight updates.
        p, p_input: probabilities of dropping a hidden unit and an input.
        protocol: a name in `PROTOCOLS`; "falling" uses torch's default initial weights.
        lr, max_norm, weight_decay: settings in the protocol's convention; see `Protocol`.
        activation, noise, pieces: settings of the net; see `mlp`.
        l1_late: λ of a penalty λ‖w‖₁ in the last quarter of the updates.
        sparsity: weight of the penalty `KLSparsity`.
        rows: number of training images to use, starting with the first one; None for all.
        validate: whether to measure the error on held-out training images instead of test images.
        points: number of measurements, evenly spaced over the updates.
        seed: random seed of weights, order and noise.
        data_dir: the folder with the data sets.

    Returns:
        ``updates`` and ``error`` of every measurement, the final ``train_error``, and ``seconds``
        of training without measurements.
    """
    data = digits(data_dir, validate)
    x, y = data.x[:rows], data.y[:rows]
    net = mlp(
        (INPUTS, *hidden, CLASSES),
        p=p,
        p_input=p_input,
        activation=getattr(nn, activation),
        noise={"dropout": Dropout, "gaussian": GaussianDropout}[noise],
        pieces=pieces,
        initial="torch" if protocol == "falling" else "he",
        seed=seed,
    ).to(x.device)
    how = PROTOCOLS[protocol](updates, lr=lr, max_norm=max_norm, weight_decay=weight_decay)
    if l1_late:
        how = replace(how, penalty=partial(l1, coefficient=l1_late), penalty_from=0.75)
    if sparsity:
        how = replace(how, penalty=KLSparsity(net, sparsity))
    at = tuple(updates * (i + 1) // points for i in range(points))
    errors: list[float] = []
    seconds = 0.0
    for done in fit(net, x, y, how, seed=seed, at=at):
        errors.append(error(net, data.x_test, data.y_test))
        seconds = done.seconds
    return {
        "updates": at,
        "error": errors,
        "train_error": error(net, x, y),
        "seconds": seconds,
    }
