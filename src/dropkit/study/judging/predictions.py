"""Read tables with one row per prediction, and compute the error of every row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dropkit.errors import StudyError
from dropkit.study.judging.columns import Columns
from dropkit.study.judging.runs import LARGEST, Key, group_runs
from dropkit.study.judging.table import Table, read_number

FloatArray = npt.NDArray[np.float64]
MOST_CLASSES = 50


@dataclass(frozen=True)
class Predictions:
    """The error of every test row, for every run.

    Attributes:
        task: ``classification``, with errors of 0 or 1, or ``regression``, with squared errors.
        errors: one array for each run; all runs of a data set have the same order of rows.
    """

    task: str
    errors: dict[Key, FloatArray]


def read_predictions(table: Table, columns: Columns, task: str | None) -> Predictions:
    """Read predictions and targets, and decide whether they are classes or numbers.

    Raises:
        StudyError: runs of a data set differ in rows or targets, or a value is missing.
    """
    assert columns.prediction is not None, "predictions are in a column"
    assert columns.target is not None, "targets are in a column"
    predicted, targets = table.columns[columns.prediction], table.columns[columns.target]
    for name, cells in ((columns.prediction, predicted), (columns.target, targets)):
        if "" in cells:
            raise StudyError(
                f"{table.places[cells.index('')]} has no value in column {name!r}; every test row "
                "needs its prediction and its target"
            )
    task = task or _tell_task(predicted, targets)
    groups = group_runs(table, columns)
    rows = _order_rows(table, columns, groups, targets)
    if task == "classification":
        pairs = [_read_class(p) == _read_class(t) for p, t in zip(predicted, targets, strict=True)]
        losses = [0.0 if same else 1.0 for same in pairs]
    else:
        numbers = [_read_finite(table, i, cell) for i, cell in enumerate(predicted)]
        wanted = [_read_finite(table, i, cell) for i, cell in enumerate(targets)]
        losses = [(p - t) ** 2 for p, t in zip(numbers, wanted, strict=True)]
    return Predictions(task, {key: np.array([losses[i] for i in rows[key]]) for key in groups})


def _tell_task(predicted: list[str], targets: list[str]) -> str:
    numbers = [read_number(cell) for cell in targets]
    if any(number is None for number in numbers):
        return "classification"
    whole = all(number is not None and number.is_integer() for number in numbers)
    if not whole or len(set(targets)) > MOST_CLASSES:
        return "regression"
    answers = [read_number(cell) for cell in predicted]
    if all(number is not None and number.is_integer() for number in answers):
        return "classification"
    raise StudyError(
        "the targets are integers and the predictions are not: give predicted classes, or add "
        "--task regression"
    )


def _order_rows(
    table: Table, columns: Columns, groups: dict[Key, list[int]], targets: list[str]
) -> dict[Key, list[int]]:
    """Order the rows of every run like the rows of the first run of the data set."""
    order: dict[str, dict[str, str]] = {}
    arranged = {}
    for key, rows in groups.items():
        dataset, method, seed = key
        names = [table.columns[columns.row][i] for i in rows] if columns.row else None
        names = names or [str(number) for number in range(len(rows))]
        places = dict(zip(names, rows, strict=True))
        run = f"{method}{f', seed {seed}' if seed else ''}"
        if len(places) < len(rows):
            raise StudyError(
                f"{run} has two predictions for one row; every run needs one for each test row: "
                "name the columns that distinguish runs with --seed-column and --dataset-column"
            )
        wanted = order.setdefault(dataset, {name: targets[i] for name, i in places.items()})
        if set(wanted) != set(places):
            raise StudyError(
                f"{run} and the first run predict different test rows ({len(places)} and "
                f"{len(wanted)} rows); all runs of a data set must be tested on the same rows"
            )
        arranged[key] = [places[name] for name in wanted]
        for name, i in places.items():
            if _read_class(targets[i]) != _read_class(wanted[name]):
                raise StudyError(
                    f"test row {name} has the target {targets[i]!r} in {table.places[i]}, but "
                    f"{wanted[name]!r} in the first run; a test row must have the same target in "
                    "all runs"
                )
    return arranged


def _read_class(cell: str) -> str:
    """Read a class; ``1.0`` and ``1`` are the same, because trackers write integers both ways."""
    number = read_number(cell)
    return str(int(number)) if number is not None and number.is_integer() else cell


def _read_finite(table: Table, i: int, cell: str) -> float:
    number = read_number(cell)
    if number is None or math.isnan(number) or abs(number) > LARGEST:
        raise StudyError(
            f"{table.places[i]} has {cell!r} where a regression needs a number below 1e100; "
            "classes need --task classification"
        )
    return number
