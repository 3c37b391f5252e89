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
from dropkit.schedule import Schedule, constant, inverse_time_decay, linear, momentum_ramp
from dropkit.study.training.batches import Batch
from dropkit.study.training.loop import Pass, train
from dropkit.study.training.sgd import SGD

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
    """

    updates: int
    lr: Schedule
    momentum: Schedule
    max_norm: float | None = None
    weight_decay: float = 0.0
    penalty: Penalty | None = None
    penalty_from: float = 0.0
    batch: int = 100
    in_paper_terms: bool = True


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


def make_plain_recipe(
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
    limits = (
        [(weight, protocol.max_norm * keep) for weight, keep in _weights(net, protocol)]
        if protocol.max_norm is not None
        else []
    )
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


def _weights(net: nn.Sequential, protocol: Protocol) -> Iterator[tuple[Tensor, float]]:
    """Each weight, and its length as a multiple of what it is in the protocol's terms."""
    keep = 1.0
    for layer in net:
        if isinstance(layer, Dropout | GaussianDropout) and protocol.in_paper_terms:
            keep = 1.0 - float(layer.p)
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            yield layer.weight, keep
            keep = 1.0


def _groups(net: nn.Sequential, protocol: Protocol) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [
        {"params": [weight], "pace": keep**2, "weight_decay": protocol.weight_decay / keep**2}
        for weight, keep in _weights(net, protocol)
    ]
    chosen = {id(group["params"][0]) for group in groups}
    rest = [parameter for parameter in net.parameters() if id(parameter) not in chosen]
    return [*groups, {"params": rest, "pace": 1.0, "weight_decay": 0.0}]


def _batches(rows: int, size: int, seed: int) -> Iterator[Tensor]:
    """Whole batches of row numbers, in a new order every pass, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for batch in torch.split(torch.randperm(rows, generator=generator), min(size, rows)):
            if len(batch) == min(size, rows):
                yield batch
