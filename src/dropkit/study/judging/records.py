"""Create records of finished runs, which are analysed like records of a study."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dropkit.study.judging import metrics
from dropkit.study.record import (
    Curve,
    DataInfo,
    Measure,
    Record,
    Run,
    Scores,
    Timing,
    pack_rows,
)

Values = Mapping[tuple[str, str], float]
"""The score of every method and seed on one data set."""


def choose_measure(column: str, values: Sequence[float], higher_is_better: bool) -> Measure:
    """Return the measure that methods are compared by, inferred from the column's name."""
    return Measure(
        name=column,
        label=metrics.describe(column),
        percent=metrics.is_share(column, values),
        higher_is_better=higher_is_better,
    )


def record_scores(
    name: str,
    values: Values,
    measure: Measure,
    *,
    methods: Sequence[str],
    paired: bool,
    **about: Any,
) -> Record:
    """Create the record of runs with only a score."""
    data = DataInfo(
        name=name,
        task="other",
        target=measure.label,
        rows_train=0,
        rows_val=0,
        rows_test=0,
        inputs=(),
        outputs=0,
        classes=(),
        fingerprint=_identify(values),
        notes=tuple(about.pop("notes", ())),
        measure=measure,
    )
    runs = [
        _make_run(method, number, value)
        for (method, number), value in _number_seeds(values, paired=paired).items()
    ]
    return Record(data=data, methods=tuple(methods), runs=tuple(runs), paired=paired, **about)


def record_predictions(
    name: str,
    errors: Mapping[tuple[str, str], npt.NDArray[np.float64]],
    task: str,
    *,
    methods: Sequence[str],
    paired: bool,
    **about: Any,
) -> Record:
    """Create the record of runs with the error of every test row."""
    values = {
        key: float(rows.mean()) if task == "classification" else math.sqrt(rows.mean())
        for key, rows in errors.items()
    }
    packed = {key: pack_rows(rows, task) for key, rows in errors.items()}
    data = DataInfo(
        name=name,
        task=task,
        target="target",
        rows_train=0,
        rows_val=0,
        rows_test=len(next(iter(errors.values()))),
        inputs=(),
        outputs=0,
        classes=(),
        fingerprint=_identify(packed),
        notes=tuple(about.pop("notes", ())),
    )
    rows = _number_seeds(packed, paired=paired)
    runs = [
        _make_run(method, number, value, rows[method, number])
        for (method, number), value in _number_seeds(values, paired=paired).items()
    ]
    return Record(data=data, methods=tuple(methods), runs=tuple(runs), paired=paired, **about)


def _number_seeds(values: Mapping[tuple[str, str], Any], *, paired: bool) -> dict[Any, Any]:
    """Replace seeds by integers: their own, or their positions if any seed is text.

    Runs that are not paired are numbered separately for every method.
    """
    names = sorted({seed for _, seed in values}, key=_sort_seed)
    if paired:
        whole = all(name.isdecimal() for name in names)
        numbers = {name: int(name) if whole else place for place, name in enumerate(names)}
        return {(method, numbers[seed]): value for (method, seed), value in values.items()}
    counts: dict[str, int] = {}
    numbered = {}
    for (method, _), value in sorted(values.items(), key=lambda item: _sort_seed(item[0][1])):
        numbered[method, counts.setdefault(method, 0)] = value
        counts[method] += 1
    return numbered


def _sort_seed(seed: str) -> tuple[float, str]:
    digits = seed.removeprefix("#")
    return (float(digits), "") if digits.isdecimal() else (math.inf, seed)


def _make_run(method: str, seed: int, value: float, row_errors: str | None = None) -> Run:
    return Run(
        method=method,
        seed=seed,
        status="finished",
        steps=0,
        selected_epoch=0,
        arguments={},
        curve=Curve((), (), (), ()),
        train=None,
        val=None,
        test=Scores(None, value),
        row_errors=row_errors,
        timing=Timing(0.0, 0.0),
    )


def _identify(values: Mapping[Any, Any]) -> str:
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()
