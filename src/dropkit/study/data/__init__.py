"""Load, split and preprocess the data of a study.

scikit-learn and pandas are imported only when needed, because importing them is slow.
"""

from typing import TYPE_CHECKING, Any

from dropkit._lazy import load_name
from dropkit.errors import DataError
from dropkit.study.data._data import Data

if TYPE_CHECKING:
    from dropkit.study.data._arrays import from_arrays
    from dropkit.study.data._load import load
    from dropkit.study.data._preprocess import Preprocessor, measure_units
    from dropkit.study.data._repeats import add_leak_doubts
    from dropkit.study.data._split import Split, split
    from dropkit.study.data._sst2 import load_sst2
    from dropkit.study.data._stored import StoredArray, StoredTable
    from dropkit.study.data._streamed import (
        LIMIT,
        Rest,
        StreamedData,
        StreamedSplit,
        split_streamed,
    )

__all__ = [
    "LIMIT",
    "Data",
    "DataError",
    "Preprocessor",
    "Rest",
    "Split",
    "StoredArray",
    "StoredTable",
    "StreamedData",
    "StreamedSplit",
    "add_leak_doubts",
    "from_arrays",
    "load",
    "load_sst2",
    "measure_units",
    "split",
    "split_streamed",
]

_HOMES = {
    "from_arrays": "dropkit.study.data._arrays",
    "load": "dropkit.study.data._load",
    "Preprocessor": "dropkit.study.data._preprocess",
    "measure_units": "dropkit.study.data._preprocess",
    "Split": "dropkit.study.data._split",
    "split": "dropkit.study.data._split",
    "load_sst2": "dropkit.study.data._sst2",
    "add_leak_doubts": "dropkit.study.data._repeats",
    "StoredArray": "dropkit.study.data._stored",
    "StoredTable": "dropkit.study.data._stored",
    "LIMIT": "dropkit.study.data._streamed",
    "Rest": "dropkit.study.data._streamed",
    "StreamedData": "dropkit.study.data._streamed",
    "StreamedSplit": "dropkit.study.data._streamed",
    "split_streamed": "dropkit.study.data._streamed",
}


def __getattr__(name: str) -> Any:
    return load_name(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
