"""The metrics that predictions are judged by: one entry each in `METRICS`.

Each says its direction, what it is called in a verdict, and how it is computed. scikit-learn is
imported where a metric needs it.
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
from dropkit.study.record import Measure
from dropkit.study.record.measure import ERROR, LABEL_ERROR, RMSE, STANDARDIZED_RMSE
from dropkit.study.tasks import TaskKind, find_task
from dropkit.text import nearest

Array = npt.NDArray[Any]
Takes = Literal["labels", "probabilities", "values"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        measure: its name, its direction, and how it reads.
        takes: what it needs of the predictions: ``labels`` of shape (rows,) or (rows, labels),
            ``probabilities`` of shape (rows, classes) or (rows, labels), or ``values`` of a
            regression, of shape (rows,) or (rows, targets).
        compute: from targets and these predictions to the number.
        several: what a verdict calls it where a row has several targets, if not the same.
        only: the task that it is for, if it is not for every one of the kind that it takes.
    """

    measure: Measure
    takes: Takes
    compute: Callable[[Array, Array], float]
    several: str = ""
    only: str = ""

    def is_for(self, task: TaskKind) -> bool:
        """Whether it scores what the task predicts."""
        if self.only:
            return self.only == task.name
        return task.has_probabilities != (self.takes == "values")


def find_metric(name: str) -> Metric:
    """Return the metric of that name; ``pinball(0.9)`` is that of the 0.9 quantile.

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
        return Metric(measure, "values", partial(_pinball, quantile=float(quantile[1])), label)
    if name not in METRICS:
        raise StudyError(f"unknown metric {name!r}: {nearest(name, METRICS)}")
    return METRICS[name]


def choose_metric(name: str, task: str) -> Metric:
    """Return the metric of that name as the task calls it; see `find_metric`.

    Raises:
        StudyError: there is none, or it is not for the task; the message names those that are.

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
    """Compute a metric; `StudyError` where these targets and predictions do not define it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is not defined is NaN, and said below
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
    """Compute a metric of log-probabilities of the classes or labels, or of values.

    Several values are measured in ``units``, so that each counts alike.

    >>> compute_kept(METRICS["error"], np.array([0, 1]), np.log([[0.9, 0.1], [0.6, 0.4]]))
    0.5
    """
    if metric.takes == "labels":
        predicted = predicted.argmax(1) if targets.ndim == 1 else predicted > math.log(0.5)
    elif metric.takes == "probabilities":
        predicted = np.exp(predicted)
    elif units:
        targets, predicted = targets / np.array(units), predicted / np.array(units)
    return compute_metric(metric, targets, predicted)


def _error(targets: Array, labels: Array) -> float:
    """The share of rows, or of the labels of all rows (the Hamming loss), that are wrong."""
    return float(np.mean(labels != targets))


def _subset_error(targets: Array, labels: Array) -> float:
    """The share of rows of which any label is wrong."""
    return float(np.mean((labels != targets).any(1)))


def _accuracy(targets: Array, labels: Array) -> float:
    return 1 - _error(targets, labels)


def _balanced_error(targets: Array, labels: Array) -> float:
    from sklearn.metrics import balanced_accuracy_score

    return 1 - float(balanced_accuracy_score(targets, labels))


def _f1(average: str, targets: Array, labels: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(targets, labels, average=average, zero_division=0))


def _auc(targets: Array, probabilities: Array) -> float:
    """The area under the ROC curve; of several classes the mean of one against the rest."""
    from sklearn.metrics import roc_auc_score

    if targets.ndim == 1 and probabilities.shape[1] == 2:
        return float(roc_auc_score(targets, probabilities[:, 1]))
    return float(roc_auc_score(_one_hot(targets, probabilities), probabilities, average="macro"))


def _average_precision(targets: Array, probabilities: Array) -> float:
    from sklearn.metrics import average_precision_score

    if targets.ndim == 1 and probabilities.shape[1] == 2:
        return float(average_precision_score(targets, probabilities[:, 1]))
    return float(average_precision_score(_one_hot(targets, probabilities), probabilities))


def _log_loss(targets: Array, probabilities: Array) -> float:
    """Mean negative log-likelihood; of several labels a row, the mean over all of them."""
    tiny = np.finfo(np.float64).tiny
    if targets.ndim == 1:
        return float(-np.log(_of_target(targets, probabilities).clip(tiny)).mean())
    likely = np.where(targets == 1, probabilities, 1 - probabilities)
    return float(-np.log(likely.clip(tiny)).mean())


def _perplexity(targets: Array, probabilities: Array) -> float:
    return math.exp(_log_loss(targets, probabilities))


def _brier(targets: Array, probabilities: Array) -> float:
    """Mean squared error of the probabilities, summed over the classes if there are above two."""
    squared = (probabilities - _one_hot(targets, probabilities)) ** 2
    if targets.ndim == 1 and probabilities.shape[1] > 2:
        return float(squared.sum(1).mean())
    return float(squared.mean())


def _rmse(targets: Array, values: Array) -> float:
    return float(np.sqrt(np.mean((values - targets) ** 2)))


def _mae(targets: Array, values: Array) -> float:
    return float(np.mean(np.abs(values - targets)))


def _r2(targets: Array, values: Array) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(targets, values))


def _pinball(targets: Array, values: Array, quantile: float = 0.5) -> float:
    above = targets - values
    return float(np.mean(np.maximum(quantile * above, (quantile - 1) * above)))


def _of_target(targets: Array, probabilities: Array) -> Array:
    """The probability of each row's own class."""
    found: Array = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    return found


def _one_hot(targets: Array, probabilities: Array) -> Array:
    if targets.ndim == probabilities.ndim:
        return targets
    return np.eye(probabilities.shape[1])[targets.astype(np.int64)]


_UP = {"higher_is_better": True}

METRICS: dict[str, Metric] = {
    metric.measure.name: metric
    for metric in (
        Metric(ERROR, "labels", _error, LABEL_ERROR.label),
        Metric(
            Measure("subset-error", "test subset error", percent=True),
            "labels",
            _subset_error,
            only="multi-label",
        ),
        Metric(
            Measure("accuracy", "test accuracy", percent=True, **_UP),
            "labels",
            _accuracy,
            "test label accuracy",
        ),
        Metric(
            Measure("balanced-error", "test balanced error", percent=True),
            "labels",
            _balanced_error,
            only="classification",
        ),
        Metric(Measure("auc", "test AUC", **_UP), "probabilities", _auc),
        Metric(
            Measure("average-precision", "test average precision", **_UP),
            "probabilities",
            _average_precision,
        ),
        Metric(Measure("f1-macro", "test macro F1", **_UP), "labels", partial(_f1, "macro")),
        Metric(Measure("f1-micro", "test micro F1", **_UP), "labels", partial(_f1, "micro")),
        Metric(Measure("log-loss", "test log loss"), "probabilities", _log_loss),
        Metric(Measure("brier", "test Brier score"), "probabilities", _brier),
        Metric(
            Measure("perplexity", "test perplexity"),
            "probabilities",
            _perplexity,
        ),
        Metric(RMSE, "values", _rmse, STANDARDIZED_RMSE.label),
        Metric(Measure("mae", "test MAE"), "values", _mae, "test standardized MAE"),
        Metric(Measure("r2", "test R²", **_UP), "values", _r2, "test mean R²"),
        Metric(
            Measure("pinball", "test pinball loss"),
            "values",
            _pinball,
            "test standardized pinball loss",
        ),
    )
}
"""Every metric by its name."""
