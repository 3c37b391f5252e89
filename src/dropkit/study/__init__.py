"""Honest comparison of regularizers on one's own data."""

from typing import TYPE_CHECKING, Any

from dropkit._lazy import load_name

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
    return load_name(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
