"""Define `Outcome`, which a user's training function returns, and its scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dropkit.errors import StudyError
from dropkit.study.metrics import METRICS, Metric, compute_metric, find_metric
from dropkit.study.record import NUMBERS, Measure, Scores, pack_rows
from dropkit.study.tasks import find_task
from dropkit.study.training.predictions import Predictions, read_predictions
from dropkit.study.training.scoring import score

TASKS = ("classification", "regression")
_SEVERAL = {"classification": "multi-label", "regression": "multi-output"}


@dataclass(frozen=True)
class Scored:
    """The scores of an outcome.

    Args:
        measure: the metric that methods are compared by.
        task: ``classification`` or ``regression``, or ``other`` for the user's own metrics.
        scores: the scores on the test rows.
        rows: number of test rows; 0 if only metrics were returned.
        row_errors: the error of each row if the measure is the error or the RMSE; see `pack_rows`.
        contributions: the contribution of each row to any other measure, if rows are independent.
        targets: hash of the test targets, to check that two runs have the same test rows.
        constant: the measure of the best constant prediction for the test rows, if there are row
            errors.
    """

    measure: Measure
    task: str
    scores: Scores
    rows: int = 0
    row_errors: str | None = None
    targets: str = ""
    constant: float | None = None
    contributions: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a training function: predictions for the test rows, or finished metrics.

    Args:
        predictions: for every test row, in order: logits or probabilities of shape (rows, classes),
            classes of shape (rows,), or numbers. Tensors on any device, arrays or lists.
        targets: the true classes or numbers of the test rows. The test rows must be the same for
            every method and seed.
        task: ``classification`` or ``regression``; inferred from the targets if not given.
        metric: the metric to compare: ``error``, ``f1-macro``, ``auc``, ``log-loss``, ``rmse``,
            ``mae`` and others. By default the test error, or the root mean squared error of a
            regression.
        metrics: your own numbers instead of predictions, such as ``{"bleu": 31.2}``; methods are
            compared by the first.
        higher_is_better: the direction of ``metrics``; needed unless the metric is built in.

    Raises:
        StudyError: predictions and targets do not match, a number is NaN, or the metric is unknown.

    >>> outcome = Outcome([[2.0, 0.0], [2.0, 0.0]], [0, 1])
    >>> outcome.score().scores.value
    0.5
    >>> Outcome([0, 1, 1], [0, 1, 0], metric="f1-macro").score().measure.label
    'test macro F1'
    >>> Outcome(metrics={"bleu": 31.2}, higher_is_better=True).score().scores.value
    31.2
    """

    predictions: Any = None
    targets: Any = None
    _: KW_ONLY
    task: str | None = None
    metric: str | None = None
    metrics: Mapping[str, float] | None = None
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and not isinstance(self.metric, str):
            raise StudyError(
                f"metric must be a metric's name, got a {type(self.metric).__name__}; return a "
                "number of your own as metrics={...}"
            )
        if self.metrics is not None and not isinstance(self.metrics, Mapping):
            raise StudyError(
                f'metrics must be names and numbers, as {{"bleu": 31.2}}, got {self.metrics!r}'
            )
        if self.task not in (None, *TASKS):
            raise StudyError(f"task must be classification or regression, got {self.task!r}")
        predicted = self.predictions is not None and self.targets is not None
        if predicted == (self.metrics is not None):
            raise StudyError(
                "an Outcome needs predictions and targets, or metrics={...} in their place"
            )
        if self.metrics is not None and self.metric is not None:
            raise StudyError(
                "metric is for predictions; methods are compared by the first of metrics={...}"
            )
        if predicted and self.higher_is_better is not None:
            raise StudyError(
                "higher_is_better is for metrics={...}; a built-in metric has a direction"
            )

    def score(self) -> Scored:
        """Compute the score that methods are compared by."""
        if self.metrics is not None:
            return self._score_metrics(self.metrics)
        found = read_predictions(self.predictions, self.targets, self.task)
        default = "error" if found.task == "classification" else "rmse"
        metric = find_metric(self.metric or default)
        scores, row_errors = _score_by_default(found)
        contributions = None
        if metric.measure.name != default or not scores:
            given = _choose_given(metric, found)
            value = compute_metric(metric, found.targets, given)
            if found.independent:
                contributions = pack_rows(metric.contribute(found.targets, given), NUMBERS)
            known = scores or Scores(None, value)
            scores = replace(known, value=value)
        if metric.measure.name != default or not found.independent:
            row_errors = None
        return Scored(
            metric.measure,
            found.task if row_errors is not None else "other",
            scores,
            len(found.targets),
            row_errors,
            _digest(found.targets),
            None if row_errors is None else _score_constant(found),
            contributions,
        )

    def _score_metrics(self, metrics: Mapping[str, float]) -> Scored:
        if not metrics:
            raise StudyError('metrics must hold a number, such as {"bleu": 31.2}')
        for name, value in metrics.items():
            if not isinstance(value, int | float | np.number) and not hasattr(value, "item"):
                raise StudyError(f"metrics must be numbers, got {name}={value!r}")
            if not math.isfinite(value):
                raise StudyError(f"{name} is {float(value)}; look at what the model predicts")
        name, value = next(iter(metrics.items()))
        if self.higher_is_better is None and name not in METRICS:
            raise StudyError(f"is a higher {name} better? Say so: higher_is_better=True, or False")
        measure = METRICS[name].measure if name in METRICS else Measure(name, f"test {name}")
        if self.higher_is_better not in (None, measure.higher_is_better):
            measure = Measure(name, measure.label, measure.percent, bool(self.higher_is_better))
        return Scored(measure, "other", Scores(None, float(value)))


def _score_by_default(found: Predictions) -> tuple[Scores | None, str | None]:
    """Return scores with the test error or RMSE, and row errors; ``None`` for several labels."""
    if found.values is not None:
        squared = ((found.values - found.targets) ** 2).reshape(len(found.targets), -1).mean(1)
        mean = float(squared.mean())
        return Scores(mean, math.sqrt(mean)), pack_rows(squared, "regression")
    if found.several or found.labels is None:
        return None, None
    if found.logits is None:
        wrong = found.labels != found.targets
        return Scores(None, float(wrong.mean())), pack_rows(wrong, "classification")
    logits, targets = torch.from_numpy(found.logits), torch.from_numpy(found.targets)
    scores, errors = score(logits, targets, "classification", simulate=True)
    return scores, pack_rows(errors, "classification")


def _score_constant(found: Predictions) -> float:
    """Return the test error of the most frequent class, or the RMSE of the mean."""
    targets = found.targets
    if found.task == "classification":
        return 1 - float(np.unique(targets, return_counts=True)[1].max()) / len(targets)
    return math.sqrt(float(((targets - targets.mean(0)) ** 2).mean()))


def _choose_given(metric: Metric, found: Predictions) -> npt.NDArray[Any]:
    """Return the labels, probabilities or values for the metric; raise `StudyError` if unknown."""
    taken = {"labels": found.labels, "values": found.values}
    given = found.probabilities if metric.takes == "probabilities" else taken[metric.takes]
    kind = find_task(_SEVERAL[found.task] if found.several else found.task)
    known = [
        name
        for name, other in METRICS.items()
        if other.is_for(kind) and (other.takes != "probabilities" or found.logits is not None)
    ]
    if given is not None and not metric.is_for(kind):
        raise StudyError(
            f"the metric {metric.measure.name} is not for {kind.title}; use {', '.join(known)}"
        )
    if given is None:
        raise StudyError(
            f"{metric.measure.name} needs {metric.takes}, which these predictions of a "
            f"{found.task} do not give; use {', '.join(known)}"
        )
    return given


def _digest(targets: Any) -> str:
    array = np.ascontiguousarray(targets)
    head = f"{array.shape} {array.dtype.kind}".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()[:16]
