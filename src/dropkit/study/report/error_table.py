"""Tabulate errors on the test rows by class, label or target, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dropkit.study.analysis.stats import t_interval
from dropkit.study.analysis.words import format_interval, format_value
from dropkit.study.record import Record
from dropkit.study.record.measure import RMSE
from dropkit.study.record.predictions import Predictions

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ErrorRow:
    """The errors of one class, label or target, for each method shown.

    ``errors`` include 95 % intervals over the seeds. ``size`` helps to judge the errors: it is the
    number of test rows, or the target's standard deviation.
    """

    name: str
    size: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class ErrorTable:
    """Rows of errors, with the headings of the columns."""

    name: str
    size: str
    error: str
    rows: tuple[ErrorRow, ...]


def tabulate_classes(record: Record, kept: Predictions, shown: Sequence[str]) -> ErrorTable:
    """Tabulate how often each class is misclassified."""
    names = name_classes(record)
    wrong = [1 - confuse(record, kept, m, len(names)).diagonal(axis1=1, axis2=2) for m in shown]
    counts = [int((kept.targets == number).sum()) for number in range(len(names))]
    rows = _make_rows(names, counts, wrong, record.overlap)
    return ErrorTable("class", "test rows", "error, %", rows)


def tabulate_labels(record: Record, kept: Predictions, shown: Sequence[str]) -> ErrorTable:
    """Tabulate how often each label is predicted wrongly."""
    held = kept.targets > 0.5
    wrong = [
        np.array(
            [
                ((predicted > math.log(0.5)) != (true > 0.5)).mean(0)
                for true, predicted in _list_pairs(record, kept, method)
            ]
        )
        for method in shown
    ]
    rows = _make_rows(record.data.targets, held.sum(0).tolist(), wrong, record.overlap)
    return ErrorTable("label", "test rows with this label", "error, %", rows)


def tabulate_numbers(record: Record, kept: Predictions, shown: Sequence[str]) -> ErrorTable:
    """Tabulate the root mean squared error of each target, in its own units."""
    errors = [
        np.array(
            [
                np.sqrt(((predicted - true) ** 2).mean(0))
                for true, predicted in _list_pairs(record, kept, method)
            ]
        )
        for method in shown
    ]
    rows = [
        ErrorRow(
            name,
            format_value(unit, RMSE),
            tuple(_format_number(of[:, i], record.overlap) for of in errors),
        )
        for i, (name, unit) in enumerate(zip(record.data.targets, record.data.units, strict=True))
    ]
    return ErrorTable("target", "standard deviation", "RMSE", tuple(rows))


def list_predictions(record: Record, kept: Predictions, method: str) -> list[Array]:
    """Return the saved predictions of a method, one array per run."""
    return [
        kept.predicted[method, seed].astype(np.float64) for seed in list_seeds(record, kept, method)
    ]


def list_targets(record: Record, kept: Predictions, method: str) -> list[Array]:
    """Return the targets of each of these runs."""
    return [kept.targets_of(seed) for seed in list_seeds(record, kept, method)]


def list_seeds(record: Record, kept: Predictions, method: str) -> list[int]:
    """Return the seeds of a method's runs with saved predictions."""
    return [run.seed for run in record.of(method) if (method, run.seed) in kept.predicted]


def name_classes(record: Record) -> tuple[str, ...]:
    """Return the names of the classes, or their numbers if they have no names."""
    return record.data.classes or tuple(map(str, range(record.data.outputs)))


def confuse(record: Record, kept: Predictions, method: str, classes: int) -> Array:
    """Return, for each run and class, the shares of its test rows predicted as each class."""
    runs = _list_pairs(record, kept, method)
    counts = np.zeros((len(runs), classes, classes))
    for mine, (true, predicted) in zip(counts, runs, strict=True):
        np.add.at(mine, (true.astype(int), predicted.argmax(1)), 1)
    found: Array = counts / counts.sum(2, keepdims=True).clip(min=1)
    return found


def _list_pairs(record: Record, kept: Predictions, method: str) -> list[tuple[Array, Array]]:
    """Return the targets and predictions of each run."""
    targets = list_targets(record, kept, method)
    return list(zip(targets, list_predictions(record, kept, method), strict=True))


def _make_rows(
    names: Iterable[str], counts: Sequence[int], shares: Sequence[Array], overlap: float
) -> tuple[ErrorRow, ...]:
    return tuple(
        ErrorRow(
            name, f"{count:,}", tuple(_format_share(of[:, i], count, overlap) for of in shares)
        )
        for i, (name, count) in enumerate(zip(names, counts, strict=True))
    )


def _format_share(shares: Array, count: int, overlap: float) -> str:
    if not count or not len(shares):
        return "–"
    estimate = t_interval(shares, overlap=overlap)
    if estimate.low is None or estimate.high is None:
        return f"{100 * estimate.mean:.1f}"
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    return f"{100 * estimate.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _format_number(values: Array, overlap: float) -> str:
    if not len(values):
        return "–"
    estimate = t_interval(values, overlap=overlap)
    mean = format_value(estimate.mean, RMSE, within=estimate)
    return mean if estimate.low is None else f"{mean} {format_interval(estimate, RMSE)}"
