"""Train like the 2014 paper: stochastic gradient descent for a number of updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dropkit.constrain import max_norm_
from dropkit.noise import Dropout, GaussianDropout
from dropkit.schedule import constant, inverse_time_decay, linear, momentum_ramp
from dropkit.study.training.batches import Batch
from dropkit.study.training.loop import Pass, train
from dropkit.study.training.sgd import SGD

Layer = nn.Linear | nn.Conv2d
Loss = Callable[[Tensor, Tensor], Tensor]
Penalty = Callable[[nn.Module], Tensor]
Recipe = Literal["paper", "compare"]  # the schedules of the paper, or of `dropkit compare`

FULL = 1_000_000  # updates of the paper's protocol, for which the schedules are defined


@dataclass(frozen=True)
class Protocol:
    """The settings of a training, in the paper's convention: kept units are not scaled.

    ``v ← momentum·v + gradient; w ← w − lr·v; ‖w‖ ≤ max_norm`` for each unit's incoming weights.

    dropkit's layers scale kept units by 1/q, where q is the keep probability. So a weight after
    such a layer is q times the paper's weight, and its gradient is 1/q times the paper's. Therefore
    `fit` trains this weight with q²·lr, weight_decay/q² and q·max_norm. The result is exactly q
    times the paper's weight, which is the paper's network at test time.

    Args:
        updates: number of updates.
        lr: function from the step to the learning rate ε.
        momentum: function from the step to the momentum.
        max_norm: c, the largest norm of a unit's incoming weights; None for no limit.
        weight_decay: λ of the gradient λ·w, for weights only.
        penalty: function of the net that is added to the loss.
        penalty_from: fraction of the updates after which the penalty starts.
        batch: rows per update.
        in_paper_terms: whether the settings use the paper's convention; if not, dropkit's layers
            use them unchanged.
        last_lr: the output layer's learning rate, as a multiple of ``lr``.
        last_max_norm: the norm limit of the output layer; None means ``max_norm``.
    """

    updates: int
    lr: Callable[[int], float]
    momentum: Callable[[int], float]
    max_norm: float | None = None
    weight_decay: float = 0.0
    penalty: Penalty | None = None
    penalty_from: float = 0.0
    batch: int = 100
    in_paper_terms: bool = True
    last_lr: float = 1.0
    last_max_norm: float | None = None


def authors(
    updates: int,
    *,
    lr: float = 1.0,
    max_norm: float | None = 3.0,
    weight_decay: float = 0.0,
) -> Protocol:
    """Return the first author's settings for ReLU nets with dropout, over ``updates`` updates.

    ``ε = lr/(1 + t/10,000)``, momentum from 0.5 to 0.99 as ``0.99 − 0.49·exp(−t/100,000)``,
    batches of 100. A shorter training compresses the same schedules proportionally.
    """
    pace = updates / FULL
    return Protocol(
        updates,
        inverse_time_decay(lr, 10_000 * pace),
        momentum_ramp(0.5, 0.99, 100_000 * pace),
        max_norm,
        weight_decay,
    )


def authors_dropout(
    updates: int,
    *,
    lr: float = 0.1,
    max_norm: float | None = 2.0,
    weight_decay: float = 0.0,
) -> Protocol:
    """Return the first author's settings for 784-1024-1024-10 with dropout, 100,000 updates.

    Learning rate 0.1, and 0.01 in the output layer; final momentum 0.95; norms up to 2, and up to
    3.5 in the output layer; batches of 100. The schedules of learning rate and momentum are unknown
    for this net. So both are taken from `authors`: ``ε = lr/(1 + t/10,000)`` and ``0.95 −
    0.45·exp(−t/10,000)``. A shorter training compresses both schedules proportionally.
    """
    pace = updates / 100_000
    return Protocol(
        updates,
        inverse_time_decay(lr, 10_000 * pace),
        momentum_ramp(0.5, 0.95, 10_000 * pace),
        max_norm,
        weight_decay,
        last_lr=0.1,
        last_max_norm=None if max_norm is None else 1.75 * max_norm,
    )


def authors_plain(
    updates: int,
    *,
    lr: float = 0.01,
    max_norm: float | None = None,
    weight_decay: float = 0.001,
) -> Protocol:
    """Return the first author's settings for 784-1024-1024-10 without dropout, 100,000 updates.

    Learning rate 0.01, halved every 10,000 updates; momentum 0.9; L2 with λ = 0.001. A shorter
    training has proportionally shorter intervals.
    """

    def halved(step: int) -> float:
        return lr * 0.5 ** (10 * step // updates)

    return Protocol(updates, halved, constant(0.9), max_norm, weight_decay)


def plain(
    updates: int,
    *,
    lr: float = 0.1,
    max_norm: float | None = None,
    weight_decay: float = 0.0,
) -> Protocol:
    """Return settings for a net without dropout: ε decreases as in `authors`, momentum is 0.9."""
    decay = inverse_time_decay(lr, 10_000 * updates / FULL)
    return Protocol(updates, decay, constant(0.9), max_norm, weight_decay)


def falling(
    updates: int,
    *,
    lr: float = 0.05,
    max_norm: float | None = None,
    weight_decay: float = 0.0,
) -> Protocol:
    """Return the settings of `dropkit compare`: ε decreases linearly to 0, momentum is 0.9.

    These settings work for nets with and without dropout, and need tens of thousands of updates
    instead of the million of `authors`.
    """
    return Protocol(
        updates,
        linear(lr, 0.0, updates),
        constant(0.9),
        max_norm,
        weight_decay,
        in_paper_terms=False,
    )


def fit(
    net: nn.Sequential,
    x: Tensor,
    y: Tensor,
    protocol: Protocol,
    *,
    seed: int,
    loss: Loss = nn.functional.cross_entropy,
    at: tuple[int, ...] = (),
) -> Iterator[Pass]:
    """Train ``net``, and yield after each number of updates in ``at`` for measurements.

    At the end the net is in evaluation mode.

    Args:
        net: layers in order; a `Linear` follows each `Dropout` or `GaussianDropout` directly.
        x, y: rows and targets, on the device of the net.
        protocol: the settings of the training.
        seed: random seed of the order of the rows and the noise.
        loss: function of outputs and targets.
        at: increasing numbers of updates; the last one ends the training.

    Yields:
        The number of updates so far, and the seconds that these updates took.
    """
    optimizer = SGD(_groups(net, protocol))
    limits = _limits(net, protocol)
    order = _batches(len(x), protocol.batch, seed)
    made = 0

    def passes() -> Iterator[Iterator[Batch]]:
        for start, stop in pairwise((0, *at)):
            rows = (next(order).to(x.device) for _ in range(start, stop))
            yield ((x[chosen], y[chosen], 1.0) for chosen in rows)

    def set_step(step: int) -> None:
        nonlocal made
        made = step
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * protocol.lr(step)
            group["momentum"] = protocol.momentum(step)

    def objective(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        cost = loss(net(inputs), targets)
        if protocol.penalty is None or made < protocol.penalty_from * protocol.updates:
            return cost, cost
        return cost, cost + protocol.penalty(net)

    def project() -> None:
        for weight, limit in limits:
            max_norm_(weight, limit)

    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        yield from train(net, passes(), objective, optimizer, schedule=set_step, project=project)
    net.eval()


def _layers(net: nn.Sequential, protocol: Protocol) -> list[tuple[Layer, float]]:
    """Return each layer with weights, and q, its weights as a multiple of the paper's weights."""
    found: list[tuple[Layer, float]] = []
    keep = 1.0
    for layer in net:
        if isinstance(layer, Dropout | GaussianDropout) and protocol.in_paper_terms:
            keep = 1.0 - float(layer.p)
        elif isinstance(layer, Layer):
            found.append((layer, keep))
            keep = 1.0
    return found


def _limits(net: nn.Sequential, protocol: Protocol) -> list[tuple[Tensor, float]]:
    """Return each weight, and the limit for the norm of a unit's incoming weights."""
    if protocol.max_norm is None:
        return []
    layers = _layers(net, protocol)
    limits = [protocol.max_norm] * len(layers)
    limits[-1] = protocol.last_max_norm or protocol.max_norm
    return [(layer.weight, c * keep) for (layer, keep), c in zip(layers, limits, strict=True)]


def _groups(net: nn.Sequential, protocol: Protocol) -> list[dict[str, Any]]:
    """Return parameter groups for the weights and biases of layers, and for other parameters."""
    layers = _layers(net, protocol)
    groups: list[dict[str, Any]] = []
    for i, (layer, keep) in enumerate(layers):
        lr = protocol.last_lr if i == len(layers) - 1 else 1.0
        weight: dict[str, Any] = {"params": [layer.weight], "pace": keep**2 * lr}
        groups.append(weight | {"weight_decay": protocol.weight_decay / keep**2})
        if layer.bias is not None:
            groups.append({"params": [layer.bias], "pace": lr, "weight_decay": 0.0})
    chosen = {id(parameter) for layer, _ in layers for parameter in layer.parameters()}
    rest = [parameter for parameter in net.parameters() if id(parameter) not in chosen]
    return [*groups, {"params": rest, "pace": 1.0, "weight_decay": 0.0}]


def _batches(rows: int, size: int, seed: int) -> Iterator[Tensor]:
    """Yield full batches of row numbers forever, in a new order in every pass."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for batch in torch.split(torch.randperm(rows, generator=generator), min(size, rows)):
            if len(batch) == min(size, rows):
                yield batch
