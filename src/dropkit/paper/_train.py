"""The 2014 paper's way of training: stochastic gradient descent over a number of updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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

FULL = 1_000_000  # updates of the paper's protocol, over which its schedules are given


@dataclass(frozen=True)
class Protocol:
    """How a net is trained, in the paper's terms: dropped units are 0 and kept ones unscaled.

    ``v ← momentum·v + gradient;  w ← w − lr·v;  ‖w‖ ≤ max_norm`` for each unit's incoming weights.

    Our layers scale kept units by 1/q, q being the keep probability, so that a weight behind one
    of them is q times the paper's, and its gradient 1/q times. `fit` therefore trains such a
    weight with q²·lr, with weight_decay/q² and with q·max_norm, and ends at exactly q times the
    paper's weight, which is the paper's net at test time.

    Args:
        updates: how many.
        lr: step → ε.
        momentum: step → momentum.
        max_norm: c, the largest norm of a unit's incoming weights; ``None`` for no limit.
        weight_decay: λ of the gradient λ·w, on weights and not on biases.
        penalty: added to the loss, as it stands; a function of the net.
        penalty_from: the share of the updates after which that begins.
        batch: rows per update.
        in_paper_terms: whether these are the paper's settings; if not, they are those of our own
            layers, and are taken as they stand.
        last_lr: the output layer's learning rate, as a multiple of ``lr``.
        last_max_norm: the limit for the output layer; ``None`` takes ``max_norm``.
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
    batches of 100. A shorter training runs through the same schedules at a proportionally faster
    pace.
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
    3.5 in the output layer; batches of 100. The decay of the learning rate and the rise of the
    momentum are not known for this net: they are those of `authors`, ``ε = lr/(1 + t/10,000)``
    and ``0.95 − 0.45·exp(−t/10,000)``. A shorter training goes through both at a proportionally
    faster pace.
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
    """Return the first author's settings for that net without dropout, 100,000 updates.

    Learning rate 0.01, halved every 10,000 updates; momentum 0.9; L2 with λ = 0.001. A shorter
    training is halved proportionally more often.
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
    """Return settings that serve a net without dropout: ε falls likewise, momentum is 0.9."""
    decay = inverse_time_decay(lr, 10_000 * updates / FULL)
    return Protocol(updates, decay, constant(0.9), max_norm, weight_decay)


def falling(
    updates: int,
    *,
    lr: float = 0.05,
    max_norm: float | None = None,
    weight_decay: float = 0.0,
) -> Protocol:
    """Return the plain recipe of `dropkit compare`: ε falls linearly to 0, momentum is 0.9.

    It serves nets with and without dropout alike, and shows in some ten thousand updates what the
    schedules of `authors` need a million for.
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
    """Train ``net``, and stop after each of the updates ``at`` to be measured.

    It ends in evaluation mode.

    Args:
        net: layers, of which `Dropout` and `GaussianDropout` stand right before a `Linear`.
        x, y: rows and targets, on the device of the net.
        protocol: how.
        seed: decides the order of the rows and the noise.
        loss: of outputs and targets.
        at: numbers of updates, rising; the last one ends the training.

    Yields:
        The updates made and the seconds that they took, at each of these numbers.
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
    """Each layer with weights, and their length as a multiple of that in the protocol's terms."""
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
    """Each weight and the largest norm of a unit's incoming part of it."""
    if protocol.max_norm is None:
        return []
    layers = _layers(net, protocol)
    limits = [protocol.max_norm] * len(layers)
    limits[-1] = protocol.last_max_norm or protocol.max_norm
    return [(layer.weight, c * keep) for (layer, keep), c in zip(layers, limits, strict=True)]


def _groups(net: nn.Sequential, protocol: Protocol) -> list[dict[str, Any]]:
    """Each layer's weight and bias, and what other layers learn, with their learning rates."""
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
    """Whole batches of row numbers, in a new order every pass, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for batch in torch.split(torch.randperm(rows, generator=generator), min(size, rows)):
            if len(batch) == min(size, rows):
                yield batch
