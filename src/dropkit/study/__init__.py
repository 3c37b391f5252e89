"""Honest comparison of regularizers on one's own data."""

from dropkit.study._errors import StudyError
from dropkit.study.compare import compare
from dropkit.study.data import Data, DataError
from dropkit.study.results import Results, Run, Scores
from dropkit.study.study import Study

__all__ = ["Data", "DataError", "Results", "Run", "Scores", "Study", "StudyError", "compare"]
