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
from dropkit.study import contributions
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
        contribute: from the same to what every row contributes; see `dropkit.study.contributions`.
        several: what a verdict calls it where a row has several targets, if not the same.
        only: the task that it is for, if it is not for every one of the kind that it takes.
    """

    measure: Measure
    takes: Takes
    compute: Callable[[Array, Array], float]
    contribute: Callable[[Array, Array], Array]
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
        rows = partial(_pinball_rows, quantile=float(quantile[1]))
        return _mean(measure, "values", rows, label)
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
    return compute_metric(metric, *_convert(metric, targets, predicted, units))


def contribute_kept(
    metric: Metric, targets: Array, predicted: Array, units: Sequence[float] = ()
) -> Array:
    """Compute what every row contributes to the metric that `compute_kept` computes.

    >>> contribute_kept(METRICS["error"], np.array([0, 1]), np.log([[0.9, 0.1], [0.6, 0.4]]))
    array([0., 1.])
    """
    return metric.contribute(*_convert(metric, targets, predicted, units))


def _convert(
    metric: Metric, targets: Array, predicted: Array, units: Sequence[float]
) -> tuple[Array, Array]:
    """Targets, and log-probabilities or values, as the metric takes them."""
    if metric.takes == "labels":
        predicted = predicted.argmax(1) if targets.ndim == 1 else predicted > math.log(0.5)
    elif metric.takes == "probabilities":
        predicted = np.exp(predicted)
    elif units:
        targets, predicted = targets / np.array(units), predicted / np.array(units)
    return targets, predicted


def _mean_of(rows: Callable[[Array, Array], Array]) -> Callable[[Array, Array], float]:
    """The metric that is the mean of rows' losses."""
    return lambda targets, predictions: float(rows(targets, predictions).mean())


def _error_rows(targets: Array, labels: Array) -> Array:
    """Whether a row is wrong, or the share of its labels that are (the Hamming loss)."""
    return _over_labels(labels != targets)


def _subset_error_rows(targets: Array, labels: Array) -> Array:
    """Whether any label of a row is wrong."""
    wrong: Array = (labels != targets).any(1).astype(float)
    return wrong


def _accuracy_rows(targets: Array, labels: Array) -> Array:
    return _over_labels(labels == targets)


def _over_labels(each: Array) -> Array:
    """The mean of every row over its labels or outputs, if there are several."""
    found: Array = each.reshape(len(each), -1).mean(1)
    return found


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


def _log_loss_rows(targets: Array, probabilities: Array) -> Array:
    """Negative log-likelihoods; of several labels a row, the mean over all of them."""
    tiny = np.finfo(np.float64).tiny
    if targets.ndim == 1:
        found: Array = -np.log(_of_target(targets, probabilities).clip(tiny))
        return found
    likely = np.where(targets == 1, probabilities, 1 - probabilities)
    return _over_labels(-np.log(likely.clip(tiny)))


def _perplexity(targets: Array, probabilities: Array) -> float:
    return math.exp(_log_loss_rows(targets, probabilities).mean())


def _brier_rows(targets: Array, probabilities: Array) -> Array:
    """Squared errors of the probabilities, summed over the classes if there are above two."""
    squared = (probabilities - _one_hot(targets, probabilities)) ** 2
    if targets.ndim == 1 and probabilities.shape[1] > 2:
        found: Array = squared.sum(1)
        return found
    return _over_labels(squared)


def _rmse(targets: Array, values: Array) -> float:
    return float(np.sqrt(np.mean((values - targets) ** 2)))


def _mae_rows(targets: Array, values: Array) -> Array:
    return _over_labels(np.abs(values - targets))


def _r2(targets: Array, values: Array) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(targets, values))


def _pinball_rows(targets: Array, values: Array, quantile: float = 0.5) -> Array:
    above = targets - values
    return _over_labels(np.maximum(quantile * above, (quantile - 1) * above))


def _of_target(targets: Array, probabilities: Array) -> Array:
    """The probability of each row's own class."""
    found: Array = probabilities[np.arange(len(targets)), targets.astype(np.int64)]
    return found


def _one_hot(targets: Array, probabilities: Array) -> Array:
    if targets.ndim == probabilities.ndim:
        return targets
    return np.eye(probabilities.shape[1])[targets.astype(np.int64)]


def _contribute_scores(of: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """What rows contribute to a metric of scores: of two classes the second's alone."""

    def contribute(targets: Array, probabilities: Array) -> Array:
        if targets.ndim == 1 and probabilities.shape[1] == 2:
            return of(targets, probabilities[:, 1])
        return of(_one_hot(targets, probabilities), probabilities)

    return contribute


def _mean(
    measure: Measure,
    takes: Takes,
    rows: Callable[[Array, Array], Array],
    several: str = "",
    only: str = "",
) -> Metric:
    """A metric that is the mean of rows' losses."""
    return Metric(measure, takes, _mean_of(rows), rows, several, only)


_UP = {"higher_is_better": True}

METRICS: dict[str, Metric] = {
    metric.measure.name: metric
    for metric in (
        _mean(ERROR, "labels", _error_rows, LABEL_ERROR.label),
        _mean(
            Measure("subset-error", "test subset error", percent=True),
            "labels",
            _subset_error_rows,
            only="multi-label",
        ),
        _mean(
            Measure("accuracy", "test accuracy", percent=True, **_UP),
            "labels",
            _accuracy_rows,
            "test label accuracy",
        ),
        Metric(
            Measure("balanced-error", "test balanced error", percent=True),
            "labels",
            _balanced_error,
            contributions.balanced_error,
            only="classification",
        ),
        Metric(
            Measure("auc", "test AUC", **_UP),
            "probabilities",
            _auc,
            _contribute_scores(contributions.auc),
        ),
        Metric(
            Measure("average-precision", "test average precision", **_UP),
            "probabilities",
            _average_precision,
            _contribute_scores(contributions.average_precision),
        ),
        Metric(
            Measure("f1-macro", "test macro F1", **_UP),
            "labels",
            partial(_f1, "macro"),
            contributions.f1_macro,
        ),
        Metric(
            Measure("f1-micro", "test micro F1", **_UP),
            "labels",
            partial(_f1, "micro"),
            contributions.f1_micro,
        ),
        _mean(Measure("log-loss", "test log loss"), "probabilities", _log_loss_rows),
        _mean(Measure("brier", "test Brier score"), "probabilities", _brier_rows),
        Metric(
            Measure("perplexity", "test perplexity"),
            "probabilities",
            _perplexity,
            lambda targets, shares: contributions.perplexity(_log_loss_rows(targets, shares)),
        ),
        Metric(RMSE, "values", _rmse, contributions.rmse, STANDARDIZED_RMSE.label),
        _mean(Measure("mae", "test MAE"), "values", _mae_rows, "test standardized MAE"),
        Metric(Measure("r2", "test R²", **_UP), "values", _r2, contributions.r2, "test mean R²"),
        _mean(
            Measure("pinball", "test pinball loss"),
            "values",
            _pinball_rows,
            "test standardized pinball loss",
        ),
    )
}
"""Every metric by its name."""
