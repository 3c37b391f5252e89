"""Honest comparison of regularizers on one's own data."""

from dropkit.errors import DataError, StudyError
from dropkit.study._compare import compare
from dropkit.study.config import Study
from dropkit.study.data import Data
from dropkit.study.record.results import Results, Run, Scores

__all__ = ["Data", "DataError", "Results", "Run", "Scores", "Study", "StudyError", "compare"]
