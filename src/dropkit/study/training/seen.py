"""Record which functions of its `TrainingRun` a user's own training calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dropkit.study.methods.method import Argument

LOG = "log(val_loss=...)"  # the call that early stopping and tuning need


@dataclass(frozen=True)
class Logged:
    """The values of one call of `TrainingRun.log`, and the seconds and steps until that call."""

    step: int
    seconds: float
    train_loss: float | None
    val_loss: float | None
    val_metric: float | None


@dataclass
class Seen:
    """What a training function has called and logged in its `TrainingRun`."""

    calls: set[str] = field(default_factory=set)
    log: list[Logged] = field(default_factory=list)
    steps: int = 0
    planned: int = 0  # epochs, if the method does not stop early
    suggested: dict[str, Argument] = field(default_factory=dict)
    weights: list[str] = field(default_factory=list)  # hashes of the initial weights
    batch: str = ""  # hash of the first batch

    @property
    def start(self) -> str:
        """The hashes of the initial weights and the first batch; empty if either is unknown."""
        return ":".join([*self.weights, self.batch]) if self.weights and self.batch else ""


def to_float(value: Tensor | float | None) -> float | None:
    """Convert a logged value to a number."""
    return value.item() if isinstance(value, Tensor) else None if value is None else float(value)
