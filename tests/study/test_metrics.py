"""Metrics: the numbers of scikit-learn, or of their definition."""

import numpy as np
import pytest
from sklearn import metrics as sk

from dropkit.study import StudyError
from dropkit.study.metrics import (
    METRICS,
    choose_metric,
    compute_kept,
    compute_metric,
    find_metric,
)

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 3, 60)
LABELS = np.where(RNG.random(60) < 0.6, CLASSES, RNG.integers(0, 3, 60))
THREE = RNG.dirichlet([1, 1, 1], 60)
BINARY, TWO = CLASSES % 2, THREE[:, :2] / THREE[:, :2].sum(1, keepdims=True)
SEVERAL, SHARES = RNG.integers(0, 2, (60, 4)), RNG.random((60, 4))
NUMBERS = RNG.normal(size=(60, 3)) * [1, 10, 100]
VALUES, GUESSES = RNG.normal(size=60), RNG.normal(size=60)

CASES = {
    "error": [(CLASSES, LABELS, sk.zero_one_loss), (SEVERAL, SHARES > 0.5, sk.hamming_loss)],
    "subset-error": [(SEVERAL, SHARES > 0.5, sk.zero_one_loss)],
    "accuracy": [(CLASSES, LABELS, sk.accuracy_score)],
    "balanced-error": [(CLASSES, LABELS, lambda t, p: 1 - sk.balanced_accuracy_score(t, p))],
    "auc": [
        (BINARY, TWO, lambda t, p: sk.roc_auc_score(t, p[:, 1])),
        (CLASSES, THREE, lambda t, p: sk.roc_auc_score(t, p, multi_class="ovr")),
        (SEVERAL, SHARES, sk.roc_auc_score),
    ],
    "average-precision": [
        (BINARY, TWO, lambda t, p: sk.average_precision_score(t, p[:, 1])),
        (CLASSES, THREE, sk.average_precision_score),
        (SEVERAL, SHARES, sk.average_precision_score),
    ],
    "f1-macro": [(CLASSES, LABELS, lambda t, p: sk.f1_score(t, p, average="macro"))],
    "f1-micro": [(CLASSES, LABELS, lambda t, p: sk.f1_score(t, p, average="micro"))],
    "log-loss": [
        (CLASSES, THREE, sk.log_loss),
        (
            SEVERAL,
            SHARES,
            lambda t, p: np.mean([sk.log_loss(a, b) for a, b in zip(t.T, p.T, strict=True)]),
        ),
    ],
    "brier": [
        (BINARY, TWO, lambda t, p: sk.brier_score_loss(t, p[:, 1])),
        (
            CLASSES,
            THREE,
            lambda t, p: np.mean(
                [((np.eye(3)[a] - b) ** 2).sum() for a, b in zip(t, p, strict=True)]
            ),
        ),
    ],
    "perplexity": [(CLASSES, THREE, lambda t, p: np.exp(sk.log_loss(t, p)))],
    "rmse": [(VALUES, GUESSES, sk.root_mean_squared_error)],
    "mae": [
        (VALUES, GUESSES, sk.mean_absolute_error),
        (NUMBERS, 0.5 * NUMBERS, sk.mean_absolute_error),
    ],
    "r2": [(VALUES, GUESSES, sk.r2_score), (NUMBERS, 0.5 * NUMBERS, sk.r2_score)],
    "pinball": [(VALUES, GUESSES, sk.mean_pinball_loss)],
    "pinball(0.9)": [(VALUES, GUESSES, lambda t, p: sk.mean_pinball_loss(t, p, alpha=0.9))],
}


def test_every_metric_has_a_case() -> None:
    assert CASES.keys() - {"pinball(0.9)"} == METRICS.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_metric_is_what_it_says(name: str) -> None:
    for targets, predictions, expected in CASES[name]:
        value = compute_metric(find_metric(name), targets, predictions)
        assert value == pytest.approx(expected(targets, predictions), rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_its_direction_is_right(name: str) -> None:
    metric = find_metric(name)
    targets, guesses, _ = CASES[name][0]
    best = targets
    if metric.takes == "probabilities":
        best = np.eye(targets.max() + 1)[targets]
    perfect = compute_metric(metric, targets, best)
    cost = metric.measure.cost
    assert cost(perfect) < cost(compute_metric(metric, targets, guesses))


def test_where_it_is_not_defined_one_line_says_why() -> None:
    with pytest.raises(StudyError, match="auc"):
        compute_metric(find_metric("auc"), np.zeros(4, int), np.full((4, 2), 0.5))
    with pytest.raises(StudyError, match=r"unknown metric 'auk'.*'auc'"):
        find_metric("auk")


def test_several_numbers_count_alike_whatever_their_units() -> None:
    guesses = NUMBERS + RNG.normal(size=(60, 3)) * [1, 10, 100]
    units = NUMBERS.std(0)
    of_each = [sk.root_mean_squared_error(a, b) for a, b in zip(NUMBERS.T, guesses.T, strict=True)]
    rmse = compute_kept(METRICS["rmse"], NUMBERS, guesses, units.tolist())
    assert rmse == pytest.approx(np.sqrt(np.mean((of_each / units) ** 2)))
    assert rmse**2 == pytest.approx(1 - sk.r2_score(NUMBERS, guesses))
    shrunk = compute_kept(METRICS["rmse"], NUMBERS / 7, guesses / 7, (units / 7).tolist())
    assert shrunk == pytest.approx(rmse)


def test_kept_labels_are_decided_at_one_half() -> None:
    kept = np.log(SHARES)
    assert compute_kept(METRICS["error"], SEVERAL, kept) == sk.hamming_loss(SEVERAL, SHARES > 0.5)
    auc = compute_kept(METRICS["auc"], SEVERAL, kept)
    assert auc == pytest.approx(sk.roc_auc_score(SEVERAL, SHARES, average="macro"))


@pytest.mark.parametrize(
    ("name", "task", "label"),
    [
        ("error", "classification", "test error"),
        ("error", "multi-label", "test label error"),
        ("rmse", "regression", "test RMSE"),
        ("rmse", "multi-output", "test standardized RMSE"),
        ("pinball(0.9)", "multi-output", "test standardized pinball loss at 0.9"),
        ("auc", "multi-label", "test AUC"),
    ],
)
def test_a_metric_is_called_what_it_is_in_the_task(name: str, task: str, label: str) -> None:
    assert choose_metric(name, task).measure.label == label


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("subset-error", "classification"),
        ("balanced-error", "multi-label"),
        ("error", "multi-output"),
        ("r2", "multi-label"),
    ],
)
def test_a_metric_of_another_task_is_refused_by_name(name: str, task: str) -> None:
    with pytest.raises(StudyError, match=f"the metric {name} is not for .*; use [a-z0-9, -]+$"):
        choose_metric(name, task)
