"""Define a method: its name, its arguments, and how it changes a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dropkit.errors import StudyError

if TYPE_CHECKING:
    from dropkit.study.methods.recipe import Recipe


@dataclass(frozen=True)
class Argument:
    """A number that a method takes.

    Values from ``low`` to ``high`` are accepted. ``tune`` is the range that tuning searches, on a
    logarithmic scale if ``log`` is true. Without ``tune``, the argument is not searched.
    """

    name: str
    default: float
    meaning: str
    low: float = 0.0
    high: float = math.inf
    tune: tuple[float, float] | None = None
    log: bool = False
    whole: bool = False

    def check(self, value: float, given: str) -> float:
        """Return ``value`` if it is allowed; otherwise raise `StudyError` that shows ``given``."""
        allowed = math.isfinite(value) and self.low <= value <= self.high
        if not allowed or (self.whole and value != int(value)):
            kind = "a whole number" if self.whole else "a number"
            bounds = f"in [{self.low:g}, {self.high:g}]"
            if self.high == math.inf:
                bounds = f"of at least {self.low:g}, and finite"
            raise StudyError(f"{given}: {self.name} must be {kind} {bounds} ({self.meaning})")
        return value


@dataclass(frozen=True)
class Method:
    """A regularizer: its name, a summary, its source, its change of the recipe, its arguments."""

    name: str
    summary: str
    source: str
    apply: Callable[..., Recipe]
    arguments: tuple[Argument, ...] = ()


LR_SPAN = 10.0


def learning_rate(lr: float) -> Argument:
    """Return the learning rate as an argument that every search varies by up to a factor of ten."""
    return Argument("lr", lr, "learning rate", tune=(lr / LR_SPAN, lr * LR_SPAN), log=True)
