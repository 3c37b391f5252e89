"""What a user's own training did with its `Trial`."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dropkit.study.methods.method import Argument

LOG = "log(val_loss=...)"  # what early stopping and tuning need to be called


@dataclass(frozen=True)
class Logged:
    """What one call of `Trial.log` said, when, and after how many steps."""

    step: int
    seconds: float
    train_loss: float | None
    val_loss: float | None
    val_metric: float | None


@dataclass
class Seen:
    """What a training did with its `Trial`."""

    calls: set[str] = field(default_factory=set)
    log: list[Logged] = field(default_factory=list)
    steps: int = 0
    planned: int = 0  # epochs, if the method does not stop early
    suggested: dict[str, Argument] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)  # digests of the initial ones
    batch: str = ""  # digest of the first one

    @property
    def start(self) -> str:
        """Digests of initial weights and first batch; empty if either was not seen."""
        return ":".join([*self.weights, self.batch]) if self.weights and self.batch else ""


def to_float(value: Tensor | float | None) -> float | None:
    """Return what was logged as a number."""
    return value.item() if isinstance(value, Tensor) else None if value is None else float(value)
