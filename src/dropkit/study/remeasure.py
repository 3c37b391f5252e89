"""Evaluate a finished study by another metric, computed from its saved predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dropkit.errors import StudyError
from dropkit.study.metrics import Metric, choose_metric, compute_kept, contribute_kept
from dropkit.study.record import NUMBERS, Record, Run, Scores, pack_rows
from dropkit.study.record.predictions import Predictions


def judge_by(record: Record, name: str, kept: Predictions) -> Record:
    """Return a record in which every finished run is scored by the metric ``name``.

    Raises:
        StudyError: the metric is not for this task, or predictions are missing.
    """
    metric = choose_metric(name, record.data.task)
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
    units = record.data.units
    runs = tuple(_score(run, metric, kept, units) for run in record.runs)
    return replace(record, data=data, runs=runs)


def _score(run: Run, metric: Metric, kept: Predictions, units: Sequence[float]) -> Run:
    if run.status != "finished":
        return run
    found = kept.predicted.get((run.method, run.seed))
    if found is None:
        raise StudyError(
            f"the predictions of {run.method}, seed {run.seed}, were not saved; compare again "
            f"with --metric {metric.measure.name}"
        )
    predicted, targets = found.astype(np.float64), kept.targets_of(run.seed)
    value = compute_kept(metric, targets, predicted, units)
    rows = contribute_kept(metric, targets, predicted, units)
    curve = replace(run.curve, val_value=(None,) * len(run.curve.step))
    test = replace(run.test or Scores(None, value), value=value)
    return replace(
        run,
        curve=curve,
        train=None,
        val=None,
        test=test,
        row_errors=None,
        contributions=pack_rows(rows, NUMBERS),
    )
