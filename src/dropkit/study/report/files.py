"""Write the files of a report: ``report.html`` and ``results.csv``."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from dropkit.files import write_atomic
from dropkit.study.analysis import Analysis
from dropkit.study.record import Record, Scores
from dropkit.study.record.predictions import Predictions
from dropkit.study.report.html import render
from dropkit.study.seeds import locate_fold
from dropkit.text import printable


def write(analysis: Analysis, folder: str | Path) -> None:
    """Write ``report.html`` and ``results.csv`` into a folder, each atomically."""
    folder = Path(folder)
    write_atomic(folder / "results.csv", to_csv(analysis.record))
    write_atomic(folder / "report.html", render(analysis, Predictions.find(folder)))


def to_csv(record: Record) -> str:
    """Return CSV with one line per run, and with its repetition and fold if there are folds.

    Text that a spreadsheet would execute as a formula is quoted.
    """
    parts = ("train", "val", "test")
    names = ("loss", record.data.measure.name, "calibration")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    places = [] if record.folds is None else ["repetition", "fold"]
    writer.writerow(
        ["method", "seed", *places, "status", "steps", "selected_epoch"]
        + [f"{part}_{name}" for part in parts for name in names]
        + ["seconds", "seconds_per_step"]
    )
    for run in record.runs:
        cells: list[object] = [_quote_formula(run.method), run.seed]
        if record.folds is not None:
            cells += [1 + place for place in locate_fold(run.seed, record.folds)]
        cells += [run.status, run.steps, run.selected_epoch]
        for part in parts:
            found: Scores | None = getattr(run, part)
            cells += _list_scores(found) if found else [""] * len(names)
        writer.writerow([*cells, run.timing.seconds, run.timing.seconds_per_step])
    return out.getvalue()


def _list_scores(scores: Scores) -> list[object]:
    calibration = None if scores.miscalibration is None else scores.miscalibration.error
    known = (scores.loss, scores.value, calibration)
    return ["" if value is None else value for value in known]


def _quote_formula(text: str) -> str:
    """Return the text as a cell that a spreadsheet neither executes nor breaks into lines."""
    text = printable(text)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
