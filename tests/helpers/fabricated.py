"""Records made up for tests: errors per seed and method are given, all else follows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dropkit.study.analysis import Analysis, analyze
from dropkit.study.record import (
    Curve,
    DataInfo,
    Measure,
    Miscalibration,
    Record,
    Run,
    Scores,
    Timing,
    pack_rows,
)
from dropkit.study.results import Results

ROWS = 200


def make_run(
    method: str,
    seed: int,
    error: float | None,
    *,
    train_error: float = 0.0,
    test_loss: float = 0.3,
    train_loss: float = 0.01,
    val_loss: Sequence[float | None] = (1.0, 0.5, 0.4, 0.4, 0.4),
    seconds: float = 2.0,
    task: str = "classification",
    lr: float = 0.05,
    steps: int = 50,
    rows: int = ROWS,
    arguments: dict[str, float] | None = None,
    tested: bool = True,
) -> Run:
    """A run that errs on the first rows; ``error=None`` for one that diverged.

    One of the task *other* has neither rows nor losses.
    """
    curve = Curve(
        step=tuple(10 * (i + 1) for i in range(len(val_loss))),
        train_loss=tuple(val_loss),
        val_loss=tuple(val_loss),
        val_value=tuple(None if loss is None else loss / 10 for loss in val_loss),
    )
    if task == "classification":
        wrong = np.arange(rows) < round((error or 0.0) * rows)
    else:
        wrong = np.full(rows, (error or 0.0) ** 2)
    calibration = Miscalibration(0.05**2, 0.03**2) if task == "classification" else None
    finished, has_rows = error is not None, tested and task != "other"
    if task == "other":
        train_loss = test_loss = None  # type: ignore[assignment]
    return Run(
        method=method,
        seed=seed,
        status="finished" if finished else "diverged",
        steps=steps,
        selected_epoch=len(val_loss),
        arguments={"lr": lr} if arguments is None else arguments,
        curve=curve,
        train=Scores(train_loss, train_error, calibration) if finished else None,
        val=Scores(test_loss, error, calibration) if error is not None else None,
        test=Scores(test_loss, error, calibration) if error is not None and tested else None,
        row_errors=pack_rows(wrong, task) if finished and has_rows else None,
        timing=Timing(
            seconds,
            seconds / steps,
            tuple(seconds * (i + 1) / len(val_loss) for i in range(len(val_loss))),
        ),
    )


def make_record(
    errors: dict[str, Sequence[float | None]],
    *,
    task: str = "classification",
    runs: Sequence[Run] = (),
    name: str = "made-up",
    notes: tuple[str, ...] = (),
    constant_value: float | None = None,
    constant_train_value: float | None = None,
    measure: Measure | None = None,
    doubts: tuple[str, ...] = (),
    compared: tuple[str, ...] = (),
    looks: tuple[int, ...] = (),
    study: dict[str, object] | None = None,
    **settings: object,
) -> Record:
    """A record with one run per error; ``runs`` replace those of the same method and seed."""
    made = {
        (method, seed): make_run(method, seed, error, task=task, **settings)  # type: ignore[arg-type]
        for method, values in errors.items()
        for seed, error in enumerate(values)
    } | {(run.method, run.seed): run for run in runs}
    classes = ("a", "b") if task == "classification" else ()
    return Record(
        study={"data": name, "weights": "final", "epochs": 5} | (study or {}),
        data=DataInfo(
            name,
            task,
            "target",
            600,
            200,
            ROWS,
            (8,),
            len(classes) or 1,
            classes,
            "f" * 64,
            notes,
            constant_value,
            constant_value if constant_train_value is None else constant_train_value,
            doubts,
            measure,  # type: ignore[arg-type]
        ),
        methods=tuple(errors),
        runs=tuple(made.values()),
        environment={"torch": "0.0"},
        command="dropkit compare made-up",
        compared=compared,
        looks=looks,
        timing={"finished": "today"},
    )


def make_analysis(*args: Any, **kwargs: Any) -> Analysis:
    """The analysis of what `make_record` makes."""
    return analyze(make_record(*args, **kwargs))


def untimed(results: Results) -> Record:
    """The record without what a clock measured, to compare two studies."""
    still = replace(results.runs[0].timing, seconds=0.0, seconds_per_step=0.0, epochs=())
    runs = tuple(replace(run, timing=still) for run in results.runs)
    return replace(results.record, runs=runs, timing={})
