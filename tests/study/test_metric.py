"""A study compares its methods by the metric that is asked for."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, roc_auc_score

from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.analysis import analyze
from dropkit.study.metrics import METRICS, contribute_kept
from dropkit.study.record import NUMBERS as NUMBERS_TASK
from dropkit.study.record import pack_rows, unpack_rows
from dropkit.study.record.predictions import Predictions
from dropkit.study.training.folds import Fold
from helpers.fabricated import make_record, make_run

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


@pytest.mark.parametrize("name", ["auc", "f1-macro", "log-loss", "r2"])
def test_claims_are_about_new_rows_by_any_metric(name: str, tmp_path: Path) -> None:
    y = NUMBERS if METRICS[name].takes == "values" else EVEN
    results = compare(X, y, metric=name, out=tmp_path, **SMALL)  # type: ignore[arg-type]
    kept, count = Predictions.load(tmp_path), results.data.rows_test
    for run in results.runs:
        assert run.test is not None
        assert run.contributions is not None
        rows = unpack_rows(run.contributions, NUMBERS_TASK, count)
        assert rows.mean() == pytest.approx(run.test.value, rel=1e-5)
        found = kept.predicted[run.method, run.seed].astype(float)
        expected = contribute_kept(METRICS[name], kept.targets, found)
        np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-4)
    effect = results.analysis.summaries[1].effect
    assert effect is not None
    assert effect.rows == count
    assert effect.row_variance is not None
    assert effect.row_freedom is not None
    again = Results.load(tmp_path).by_metric(name, tmp_path).analysis.summaries[1].effect
    assert again is not None
    assert again.row_variance == pytest.approx(effect.row_variance, rel=1e-3)


def test_what_the_claim_by_the_auc_rests_on() -> None:
    """The variances of seeds and rows by hand: of eight runs and what their rows contribute."""
    runs = []
    for method, shift in (("none", 0.0), ("l1", 0.02)):
        for seed in range(4):
            rows = (
                0.8 + shift + 0.3 * np.random.default_rng([seed, int(100 * shift)]).normal(size=200)
            )
            run = make_run(method, seed, float(rows.mean()))
            packed = pack_rows(rows, NUMBERS_TASK)
            runs.append(replace(run, row_errors=None, contributions=packed))
    record = make_record(
        {"none": [0.1] * 4, "l1": [0.1] * 4}, runs=runs, measure=METRICS["auc"].measure
    )
    analysis = analyze(record)
    effect = analysis.summaries[1].effect
    assert effect is not None
    each = [unpack_rows(run.contributions or "", NUMBERS_TASK, 200) for run in runs]
    differences = np.array(each[4:]) - np.array(each[:4])
    assert effect.mean == pytest.approx(differences.mean(), rel=1e-5)
    assert effect.seed_variance == pytest.approx(differences.mean(1).var(ddof=1), rel=1e-4)
    assert effect.row_variance == pytest.approx(differences.mean(0).var(ddof=1) / 200)
    (few,) = [str(alert) for alert in analysis.alerts if alert.kind == "few test rows"]
    assert few == "The test set has only 200 rows: on other rows, the AUC may be different."
