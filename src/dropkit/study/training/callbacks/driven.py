"""Define the methods of a `TrainingRun` that the callbacks of all libraries call."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Driven(Protocol):
    """The methods of a `TrainingRun` that a callback calls."""

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
    """Add the gradient of the method's penalty to the gradients; call it before the step."""
    penalty = run.penalty(model, rows)
    if isinstance(penalty, Tensor):
        torch.autograd.backward(penalty)


def count_rows(data: object) -> int | None:
    """Return the number of rows, or ``None`` for streams of unknown length."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return None
