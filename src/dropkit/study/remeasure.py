"""A finished study by another metric, computed from the predictions that it kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dropkit.errors import StudyError
from dropkit.study.metrics import Metric, check_task, compute_kept
from dropkit.study.record import Record, Run, Scores
from dropkit.study.record.predictions import Predictions


def judge_by(record: Record, metric: Metric, kept: Predictions) -> Record:
    """Return the record with the metric of every finished run's predictions as its value.

    Raises:
        StudyError: the metric is not for this task, or predictions are missing.
    """
    check_task(metric, record.data.task)
    note = (
        f"{metric.measure.short} was chosen after the study, which compared the "
        f"{record.data.measure.label}: confirm the result in a new study"
    )
    data = replace(
        record.data,
        task="other",
        measure=metric.measure,
        constant_value=None,
        constant_train_value=None,
        notes=(note, *record.data.notes),
    )
    return replace(record, data=data, runs=tuple(_score(run, metric, kept) for run in record.runs))


def _score(run: Run, metric: Metric, kept: Predictions) -> Run:
    if run.status != "finished":
        return run
    found = kept.predicted.get((run.method, run.seed))
    if found is None:
        raise StudyError(
            f"the predictions of {run.method}, seed {run.seed}, were not saved; compare again "
            f"with --metric {metric.measure.name}"
        )
    value = compute_kept(metric, kept.targets, found.astype(np.float64))
    curve = replace(run.curve, val_value=(None,) * len(run.curve.step))
    loss = None if run.test is None else run.test.loss
    return replace(
        run, curve=curve, train=None, val=None, test=Scores(loss, value), row_errors=None
    )
