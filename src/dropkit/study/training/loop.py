"""The training loop, for every net that this package trains."""

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
    """What the loop asks of an optimizer; torch's have it."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self) -> None: ...

    def step(self) -> Any: ...


@dataclass(frozen=True)
class Pass:
    """Some updates that were made, such as an epoch's.

    Args:
        updates: how many were made since the start.
        losses: what each of this pass reported.
        seconds: taken by all updates since the start, without what happens between passes.
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
    """Train a net, and stop after each pass, in evaluation mode, to be measured or left.

    Args:
        net: what is trained.
        passes: batches of each.
        objective: from a batch's inputs and targets to the loss that is reported and the one that
            is minimized.
        optimizer: of the net's parameters.
        schedule: called before each update with the number of those made.
        project: called after each update, to hold a constraint.
        rank: which of the processes that train this net together.
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
