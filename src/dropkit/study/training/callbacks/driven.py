"""What a callback asks of a `Trial`, whichever library runs the loop."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Driven(Protocol):
    """The part of a `Trial` that a callback drives."""

    @property
    def stopped(self) -> bool: ...

    def begin_epoch(self, count: int) -> None: ...

    def see_batch(self, batch: Any) -> None: ...

    def penalty(self, model: nn.Module, rows: int | None = None) -> Tensor | float: ...

    def after_step(self, model: nn.Module) -> None: ...

    def log(
        self,
        *,
        train_loss: Tensor | float | None = None,
        val_loss: Tensor | float | None = None,
        val_metric: Tensor | float | None = None,
    ) -> None: ...

    def end(self) -> None: ...


def add_penalty_gradient(run: Driven, model: nn.Module, rows: int | None) -> None:
    """Add the gradient of what the method adds to the loss, before the optimizer's step."""
    penalty = run.penalty(model, rows)
    if isinstance(penalty, Tensor):
        torch.autograd.backward(penalty)


def count_rows(data: object) -> int | None:
    """Return how many rows data have, or ``None`` of streams, which do not know."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return None
