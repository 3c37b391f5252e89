"""Define the training loop of every network that this package trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dropkit._mode import mode
from dropkit.study.training.batches import Batch
from dropkit.study.training.ranks import ALONE, Rank

Objective = Callable[[Any, Tensor], tuple[Tensor, Tensor]]


class Optimizer(Protocol):
    """The interface of an optimizer that the loop needs; torch's optimizers have it."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """A finished pass, such as an epoch.

    Args:
        updates: number of updates since the start of training.
        losses: the reported loss of each update of this pass.
        seconds: duration of all updates since the start, without the time between passes.
    """

    updates: int
    losses: Tensor
    seconds: float


def train(
    net: nn.Module,
    passes: Iterable[Iterable[Batch]],
    objective: Objective,
    optimizer: Optimizer,
    *,
    schedule: Callable[[int], None],
    project: Callable[[], None] | None = None,
    rank: Rank = ALONE,
) -> Iterator[Pass]:
    """Train a network; after each pass, yield so that the caller can score it in evaluation mode.

    Args:
        net: the network.
        passes: the batches of each pass.
        objective: maps a batch's inputs and targets to the loss to report and the loss to minimize.
        optimizer: the optimizer of the network's parameters.
        schedule: called before each update with the number of updates made.
        project: called after each update, to apply a constraint.
        rank: this process, if several processes train the network.
    """
    updates, seconds = 0, 0.0
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    for batches in passes:
        started = time.perf_counter()
        losses: list[Tensor] = []
        for x, y, weight in batches:
            schedule(updates)
            loss, total = objective(x, y)
            if weight != 1:
                loss, total = weight * loss, weight * total
            optimizer.zero_grad()
            torch.autograd.backward(total)
            rank.average_gradients(trained)
            optimizer.step()
            if project is not None:
                project()
            losses.append(loss.detach())
            updates += 1
        seconds += time.perf_counter() - started
        with mode(net, training=False):
            yield Pass(updates, torch.stack(losses), seconds)
