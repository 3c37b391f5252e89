"""Compare regularizers on your own data, with paired seeds and equal budgets."""

from typing import TYPE_CHECKING, Any

from dropkit._lazy import load_name

if TYPE_CHECKING:
    from dropkit.errors import DataError, StudyError
    from dropkit.study._compare import compare
    from dropkit.study._compare_training import compare_training
    from dropkit.study._inspect import inspect
    from dropkit.study.config import Study
    from dropkit.study.data import Data
    from dropkit.study.execution import Execution
    from dropkit.study.inspection import Inspection
    from dropkit.study.record import Run, Scores
    from dropkit.study.results import Results
    from dropkit.study.training.calling import run_once
    from dropkit.study.training.outcome import Outcome
    from dropkit.study.training.training_run import TrainingRun

__all__ = [
    "Data",
    "DataError",
    "Execution",
    "Inspection",
    "Outcome",
    "Results",
    "Run",
    "Scores",
    "Study",
    "StudyError",
    "TrainingRun",
    "compare",
    "compare_training",
    "inspect",
    "run_once",
]

# Each name is imported at its first use, so that --help and a report need no torch.
_HOMES = {
    "Data": "dropkit.study.data",
    "DataError": "dropkit.errors",
    "Execution": "dropkit.study.execution",
    "Inspection": "dropkit.study.inspection",
    "Outcome": "dropkit.study.training.outcome",
    "Results": "dropkit.study.results",
    "Run": "dropkit.study.record",
    "Scores": "dropkit.study.record",
    "Study": "dropkit.study.config",
    "StudyError": "dropkit.errors",
    "TrainingRun": "dropkit.study.training.training_run",
    "compare": "dropkit.study._compare",
    "compare_training": "dropkit.study._compare_training",
    "run_once": "dropkit.study.training.calling",
    "inspect": "dropkit.study._inspect",
}


def __getattr__(name: str) -> Any:
    return load_name(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
