"""A study compares its methods by the metric that is asked for."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, roc_auc_score

from dropkit.study import Study, StudyError, compare
from dropkit.study.metrics import METRICS
from dropkit.study.training.folds import Fold

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
EVEN = (X[:, 0] + RNG.normal(size=200) > 0).astype(int)
RARE = (X[:, 0] > np.quantile(X[:, 0], 0.94)).astype(int)
LABELS = (X[:, :2] + RNG.normal(size=(200, 2)) > 0).astype(int)
NUMBERS = 100 + 7 * X[:, 0] + RNG.normal(size=200)
SMALL = {"methods": "none,l1", "seeds": 2, "epochs": 2, "hidden": (4,), "jobs": 1}


def _fold(task: str, target: torch.Tensor, metric: str, scale: float = 1.0) -> Fold:
    x, outputs = torch.zeros(len(target), 1), 2 if task == "classification" else 1
    return Fold(task, outputs, scale, x, target, x, target, x, target, metric=metric)


def test_scores_are_sklearns_in_the_targets_own_units() -> None:
    outputs = torch.tensor([[0.1, 0.9], [0.8, 0.3], [0.2, 0.4], [0.9, 0.1]])
    target = torch.tensor([1, 0, 0, 1])
    scores, rows = _fold("classification", target, "auc").score(outputs, "test")
    expected = roc_auc_score(target, outputs.double().softmax(1)[:, 1])
    assert (scores.value, rows) == (pytest.approx(expected), None)
    predicted, wanted = torch.tensor([[0.5], [1.0]]), torch.tensor([0.0, 3.0])
    scores, _ = _fold("regression", wanted, "mae", 10.0).score(predicted, "test")
    assert scores.value == pytest.approx(mean_absolute_error([0.0, 30.0], [5.0, 10.0]))
    assert scores.loss == pytest.approx((0.25 + 4) / 2)  # the loss stays what it is


def test_outputs_of_a_training_that_diverged_have_no_value() -> None:
    outputs = torch.tensor([[math.nan, 0.0], [1.0, 0.0]])
    scores, _ = _fold("classification", torch.tensor([0, 1]), "auc").score(outputs, "test")
    assert math.isnan(scores.value)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_compared_by(name: str) -> None:
    y = NUMBERS if METRICS[name].takes == "values" else EVEN
    y = LABELS if METRICS[name].only == "multi-label" else y
    results = compare(X, y, metric=name, **SMALL)  # type: ignore[arg-type]
    assert results.data.measure == METRICS[name].measure
    assert all(run.test is not None and math.isfinite(run.test.value) for run in results.runs)
    assert METRICS[name].measure.label in str(results)


def test_where_a_class_is_rare_methods_are_compared_by_the_auc() -> None:
    results = compare(X, RARE, **SMALL)  # type: ignore[arg-type]
    assert results.data.measure.name == "auc"
    assert results.data.constant_value == 0.5
    assert "since fewer than a tenth of the rows are '1'" in str(results)
    assert compare(X, RARE, metric="error", **SMALL).data.measure.name == "error"  # type: ignore[arg-type]
    assert compare(X, EVEN, **SMALL).data.measure.name == "error"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "y", "message"),
    [
        ("acu", EVEN, "unknown metric 'acu': did you mean 'auc'"),
        ("rmse", EVEN, "the metric rmse is not for classification; use error, "),
        ("auc", NUMBERS, "the metric auc is not for regression; use rmse, mae"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(metric: str, y: np.ndarray, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        compare(X, y, metric=metric, **SMALL)  # type: ignore[arg-type]


def test_the_metric_is_part_of_the_study() -> None:
    assert Study(data="digits", metric="auc").digest() != Study(data="digits").digest()
