"""Deterministic equivalents of dropout: compute expectations over masks without sampling.

The scikit-learn estimators are imported at first use.
"""

from typing import TYPE_CHECKING, Any

from dropkit.analytic._joint import Joint, joint
from dropkit.analytic._moments import (
    Gaussian,
    MomentPropagation,
    class_probabilities,
    expected_cross_entropy,
    expected_squared_error,
    moments,
)
from dropkit.analytic.penalty import explicit_penalty, implicit_noise

if TYPE_CHECKING:
    from dropkit.analytic.logistic import DropoutLogistic
    from dropkit.analytic.ridge import DropoutRidge

__all__ = [
    "DropoutLogistic",
    "DropoutRidge",
    "Gaussian",
    "Joint",
    "MomentPropagation",
    "class_probabilities",
    "expected_cross_entropy",
    "expected_squared_error",
    "explicit_penalty",
    "implicit_noise",
    "joint",
    "moments",
]


def __getattr__(name: str) -> Any:
    if name == "DropoutRidge":
        from dropkit.analytic.ridge import DropoutRidge

        return DropoutRidge
    if name == "DropoutLogistic":
        from dropkit.analytic.logistic import DropoutLogistic

        return DropoutLogistic
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
