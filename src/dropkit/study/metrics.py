"""Define the metrics that score predictions, one entry of `METRICS` each.

An entry holds the metric's direction, its name in a verdict, and its formula; see `formulas`.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dropkit.errors import StudyError
from dropkit.study import contributions, formulas
from dropkit.study.record import Measure
from dropkit.study.record.measure import ERROR, LABEL_ERROR, RMSE, STANDARDIZED_RMSE
from dropkit.study.tasks import TaskKind, find_task
from dropkit.text import nearest

Array = npt.NDArray[Any]
Takes = Literal["labels", "probabilities", "values"]


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    Args:
        measure: the metric's name, direction and wording.
        takes: the form of the predictions that it needs: ``labels`` of shape (rows,) or (rows,
            labels), ``probabilities`` of shape (rows, classes) or (rows, labels), or ``values`` of
            a regression, of shape (rows,) or (rows, targets).
        compute: maps targets and these predictions to the metric.
        contribute: maps targets and predictions to the contribution of every row; see
            `dropkit.study.contributions`.
        several: the metric's name in a verdict if a row has several targets; empty if the name does
            not change.
        only: the only task that the metric is for; empty if the metric fits every task with such
            predictions.
    """

    measure: Measure
    takes: Takes
    compute: Callable[[Array, Array], float]
    contribute: Callable[[Array, Array], Array]
    several: str = ""
    only: str = ""

    def is_for(self, task: TaskKind) -> bool:
        """Return whether this metric can score the task's predictions."""
        if self.only:
            return self.only == task.name
        return task.has_probabilities != (self.takes == "values")


def find_metric(name: str) -> Metric:
    """Find a metric by name; ``pinball(0.9)`` is the pinball loss of the 0.9 quantile.

    >>> find_metric("f1-macro").measure.higher_is_better
    True
    >>> find_metric("f1_makro")
    Traceback (most recent call last):
    dropkit.errors.StudyError: unknown metric 'f1_makro': did you mean 'f1-macro'?
    """
    quantile = re.fullmatch(r"pinball\((0?\.\d+)\)", name)
    if quantile:
        measure = Measure(name, f"test pinball loss at {quantile[1]}")
        label = f"test standardized pinball loss at {quantile[1]}"
        rows = partial(formulas.pinball_rows, quantile=float(quantile[1]))
        return _mean(measure, "values", rows, label)
    if name not in METRICS:
        raise StudyError(f"unknown metric {name!r}: {nearest(name, METRICS)}")
    return METRICS[name]


def choose_metric(name: str, task: str) -> Metric:
    """Find a metric by name, and label it for the task; see `find_metric`.

    Raises:
        StudyError: the metric does not exist or is not for the task; the message names metrics that
            are.

    >>> choose_metric("error", "multi-label").measure.label
    'test label error'
    """
    metric, kind = find_metric(name), find_task(task)
    if not metric.is_for(kind):
        fitting = [each.measure.name for each in METRICS.values() if each.is_for(kind)]
        raise StudyError(f"the metric {name} is not for {kind.title}; use {', '.join(fitting)}")
    if kind.is_several and metric.several:
        return replace(metric, measure=replace(metric.measure, label=metric.several))
    return metric


def compute_metric(metric: Metric, targets: Array, predictions: Array) -> float:
    """Compute a metric; raise `StudyError` if it is undefined for these targets and predictions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an undefined metric is NaN, which raises below
            value = float(metric.compute(targets, predictions))
    except (ValueError, ArithmeticError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"{metric.measure.name} cannot be computed: {reason}") from error
    if not math.isfinite(value):
        raise StudyError(
            f"{metric.measure.name} is {value} for these predictions; choose another metric, or "
            "look at the test rows: is there one class only?"
        )
    return value


def compute_kept(
    metric: Metric, targets: Array, predicted: Array, units: Sequence[float] = ()
) -> float:
    """Compute a metric from saved predictions: log-probabilities of classes or labels, or values.

    With several targets, values are divided by ``units``, so that all targets count equally.

    >>> compute_kept(METRICS["error"], np.array([0, 1]), np.log([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """
    return compute_metric(metric, *_convert(metric, targets, predicted, units))


def contribute_kept(
    metric: Metric, targets: Array, predicted: Array, units: Sequence[float] = ()
) -> Array:
    """Compute the contribution of every row to the metric that `compute_kept` computes.

    >>> contribute_kept(METRICS["error"], np.array([0, 1]), np.log([[0.9, 0.1], [0.6, 0.4]]))
    array([0., 1.])
    """
    return metric.contribute(*_convert(metric, targets, predicted, units))


def _convert(
    metric: Metric, targets: Array, predicted: Array, units: Sequence[float]
) -> tuple[Array, Array]:
    """Convert targets and saved predictions to the form that the metric takes."""
    if metric.takes == "labels":
        predicted = predicted.argmax(1) if targets.ndim == 1 else predicted > math.log(0.5)
    elif metric.takes == "probabilities":
        predicted = np.exp(predicted)
    elif units:
        targets, predicted = targets / np.array(units), predicted / np.array(units)
    return targets, predicted


def _mean_of(rows: Callable[[Array, Array], Array]) -> Callable[[Array, Array], float]:
    """Return a function that averages the losses of rows."""
    return lambda targets, predictions: float(rows(targets, predictions).mean())


def _mean(
    measure: Measure,
    takes: Takes,
    rows: Callable[[Array, Array], Array],
    several: str = "",
    only: str = "",
) -> Metric:
    """Create a metric that is the mean of the losses of rows."""
    return Metric(measure, takes, _mean_of(rows), rows, several, only)


_UP = {"higher_is_better": True}

METRICS: dict[str, Metric] = {
    metric.measure.name: metric
    for metric in (
        _mean(ERROR, "labels", formulas.error_rows, LABEL_ERROR.label),
        _mean(
            Measure("subset-error", "test subset error", percent=True),
            "labels",
            formulas.subset_error_rows,
            only="multi-label",
        ),
        _mean(
            Measure("accuracy", "test accuracy", percent=True, **_UP),
            "labels",
            formulas.accuracy_rows,
            "test label accuracy",
        ),
        Metric(
            Measure("balanced-error", "test balanced error", percent=True),
            "labels",
            formulas.balanced_error,
            contributions.balanced_error,
            only="classification",
        ),
        Metric(
            Measure("auc", "test AUC", **_UP),
            "probabilities",
            formulas.auc,
            formulas.contribute_scores(contributions.auc),
        ),
        Metric(
            Measure("average-precision", "test average precision", **_UP),
            "probabilities",
            formulas.average_precision,
            formulas.contribute_scores(contributions.average_precision),
        ),
        Metric(
            Measure("f1-macro", "test macro F1", **_UP),
            "labels",
            partial(formulas.f1, "macro"),
            contributions.f1_macro,
        ),
        Metric(
            Measure("f1-micro", "test micro F1", **_UP),
            "labels",
            partial(formulas.f1, "micro"),
            contributions.f1_micro,
        ),
        _mean(Measure("log-loss", "test log loss"), "probabilities", formulas.log_loss_rows),
        _mean(Measure("brier", "test Brier score"), "probabilities", formulas.brier_rows),
        Metric(
            Measure("perplexity", "test perplexity"),
            "probabilities",
            formulas.perplexity,
            lambda targets, shares: contributions.perplexity(
                formulas.log_loss_rows(targets, shares)
            ),
        ),
        Metric(RMSE, "values", formulas.rmse, contributions.rmse, STANDARDIZED_RMSE.label),
        _mean(Measure("mae", "test MAE"), "values", formulas.mae_rows, "test standardized MAE"),
        Metric(
            Measure("r2", "test R²", **_UP), "values", formulas.r2, contributions.r2, "test mean R²"
        ),
        _mean(
            Measure("pinball", "test pinball loss"),
            "values",
            formulas.pinball_rows,
            "test standardized pinball loss",
        ),
    )
}
"""Every metric by its name."""
