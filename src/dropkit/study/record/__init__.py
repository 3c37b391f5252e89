"""Define the record of a study, which holds only its measurements."""

from dropkit.study.record.data import DataInfo
from dropkit.study.record.measure import Measure
from dropkit.study.record.record import Record, Tuning
from dropkit.study.record.rows import NUMBERS, pack_rows, unpack_rows
from dropkit.study.record.runs import Curve, Miscalibration, Run, Scores, Timing, finite

__all__ = [
    "NUMBERS",
    "Curve",
    "DataInfo",
    "Measure",
    "Miscalibration",
    "Record",
    "Run",
    "Scores",
    "Timing",
    "Tuning",
    "finite",
    "pack_rows",
    "unpack_rows",
]
