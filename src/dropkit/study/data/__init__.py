"""Data for a study: loading, division into parts, preprocessing."""

from dropkit.study.data._arrays import from_arrays
from dropkit.study.data._data import Data, DataError
from dropkit.study.data._load import load
from dropkit.study.data._sst2 import load_sst2
from dropkit.study.data.preprocess import Preprocessor
from dropkit.study.data.split import Split, split

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
