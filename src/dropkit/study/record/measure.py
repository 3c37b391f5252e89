"""What a study measures: the number that its methods are compared by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The number that methods are compared by, and how it reads.

    Attributes:
        name: a short name for columns of tables, such as ``error``, ``rmse`` or ``auc``.
        label: what a sentence or an axis calls it, such as ``test error``.
        percent: whether it is a fraction that is shown in per cent, and differences in points.
        higher_is_better: whether a method improves by raising it.

    >>> Measure("auc", "test AUC", higher_is_better=True).cost(0.9)
    -0.9
    """

    name: str
    label: str
    percent: bool = False
    higher_is_better: bool = False

    def cost(self, value: float) -> float:
        """The value, or its negative where higher is better: what is to be minimized."""
        return -value if self.higher_is_better else value

    @property
    def short(self) -> str:
        """The label without *test*: what is measured, on whichever rows."""
        return self.label.removeprefix("test ")


ERROR = Measure("error", "test error", percent=True)
RMSE = Measure("rmse", "test RMSE")
LABEL_ERROR = Measure("error", "test label error", percent=True)
STANDARDIZED_RMSE = Measure("rmse", "test standardized RMSE")
OTHER = Measure("value", "test value")
DEFAULTS = {
    "classification": ERROR,
    "regression": RMSE,
    "multi-label": LABEL_ERROR,
    "multi-output": STANDARDIZED_RMSE,
    "other": OTHER,
}
"""The measure of each task, where nothing else is asked for."""
