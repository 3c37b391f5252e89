"""Data for a study: loading, division into parts, preprocessing."""

from dropkit.errors import DataError
from dropkit.study.data._arrays import from_arrays
from dropkit.study.data._data import Data
from dropkit.study.data._load import load
from dropkit.study.data._preprocess import Preprocessor
from dropkit.study.data._split import Split, split
from dropkit.study.data._sst2 import load_sst2

__all__ = [
    "Data",
    "DataError",
    "Preprocessor",
    "Split",
    "from_arrays",
    "load",
    "load_sst2",
    "split",
]
