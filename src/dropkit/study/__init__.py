"""Honest comparison of regularizers on one's own data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropkit.errors import DataError, StudyError
    from dropkit.study._compare import compare
    from dropkit.study.config import Study
    from dropkit.study.data import Data
    from dropkit.study.execution import Execution
    from dropkit.study.record import Run, Scores
    from dropkit.study.results import Results

__all__ = [
    "Data",
    "DataError",
    "Execution",
    "Results",
    "Run",
    "Scores",
    "Study",
    "StudyError",
    "compare",
]

# Where each name is imported from at first use: --help and a report need no torch.
_HOMES = {
    "Data": "dropkit.study.data",
    "DataError": "dropkit.errors",
    "Execution": "dropkit.study.execution",
    "Results": "dropkit.study.results",
    "Run": "dropkit.study.record",
    "Scores": "dropkit.study.record",
    "Study": "dropkit.study.config",
    "StudyError": "dropkit.errors",
    "compare": "dropkit.study._compare",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found  # the next use does not come here
        return found
    raise AttributeError(f"module 'dropkit.study' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
