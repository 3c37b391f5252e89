"""Define the measure by which a study compares methods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The number by which methods are compared, with its wording.

    Attributes:
        name: a short name for columns of tables, such as ``error``, ``rmse`` or ``auc``.
        label: the name in a sentence or on an axis, such as ``test error``.
        percent: whether the value is a fraction. It is shown in per cent, differences in points.
        higher_is_better: whether a higher value is better.

    >>> Measure("auc", "test AUC", higher_is_better=True).cost(0.9)
    -0.9
    """

    name: str
    label: str
    percent: bool = False
    higher_is_better: bool = False

    def cost(self, value: float) -> float:
        """Return the value to minimize: the negative value if higher is better."""
        return -value if self.higher_is_better else value

    @property
    def short(self) -> str:
        """The label without *test*, for use with any rows."""
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
"""The default measure of each task."""
