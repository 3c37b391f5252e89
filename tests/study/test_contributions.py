"""What rows contribute to a metric: the metric on average, and the jackknife's pseudo-values."""

import numpy as np
import pytest

from dropkit.study.contributions import divide
from dropkit.study.metrics import METRICS, compute_metric, contribute_kept, find_metric

RNG = np.random.default_rng(1)
ROWS = 400
CLASSES = RNG.choice(3, ROWS, p=[0.6, 0.3, 0.1])
LABELS = np.where(RNG.random(ROWS) < 0.6, CLASSES, RNG.integers(0, 3, ROWS))
THREE = (0.2 * np.eye(3)[CLASSES] + RNG.dirichlet([1, 1, 1], ROWS)) / 1.2
RARE = (RNG.random(ROWS) < 0.15).astype(int)
CHANCE = 1 / (1 + np.exp(-(2 * RARE - 1.5 + RNG.normal(size=ROWS))))
TWO = np.stack([1 - CHANCE, CHANCE], 1)
TIED = np.round(TWO, 1)
SEVERAL = (RNG.random((ROWS, 4)) < 0.3).astype(int)
SHARES = np.clip(0.3 * SEVERAL + 0.7 * RNG.random((ROWS, 4)), 0.01, 0.99)
VALUES = RNG.normal(size=ROWS)
GUESSES = VALUES + RNG.normal(size=ROWS)

GIVEN = {
    "labels": [(CLASSES, LABELS), (RARE, (CHANCE > 0.5).astype(int)), (SEVERAL, SHARES > 0.5)],
    "probabilities": [(RARE, TWO), (RARE, TIED), (CLASSES, THREE), (SEVERAL, SHARES)],
    "values": [(VALUES, GUESSES), (np.stack([VALUES, GUESSES], 1), np.zeros((ROWS, 2)) + 0.1)],
}
CASES = [
    pytest.param(name, *case, id=f"{name}-{i}")
    for name in (*METRICS, "pinball(0.9)")
    for i, case in enumerate(GIVEN[find_metric(name).takes])
    if not (name == "balanced-error" and case[0].ndim > 1)  # which sklearn does not know
    if not (name == "subset-error" and case[0].ndim == 1)  # which is for several labels
]


@pytest.mark.parametrize(("name", "targets", "predictions"), CASES)
def test_the_mean_is_the_metric(name: str, targets: np.ndarray, predictions: np.ndarray) -> None:
    rows = find_metric(name).contribute(targets, predictions)
    assert rows.shape == (ROWS,)
    value = compute_metric(find_metric(name), targets, predictions)
    assert rows.mean() == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "targets", "predictions"), CASES)
def test_they_are_the_pseudo_values_of_leaving_one_row_out(
    name: str, targets: np.ndarray, predictions: np.ndarray
) -> None:
    metric = find_metric(name)
    whole = compute_metric(metric, targets, predictions)
    rest = [
        compute_metric(metric, np.delete(targets, i, 0), np.delete(predictions, i, 0))
        for i in range(ROWS)
    ]
    pseudo = ROWS * whole - (ROWS - 1) * np.array(rest)
    rows = metric.contribute(targets, predictions)
    spread = rows.std()
    assert spread == pytest.approx(pseudo.std(), rel=0.05)
    assert np.abs(rows - pseudo).mean() < 0.05 * spread


@pytest.mark.parametrize("name", ["auc", "average-precision", "f1-macro", "r2", "balanced-error"])
def test_their_spread_is_that_of_the_metric_over_test_sets(name: str) -> None:
    rng, metric, values, variances = np.random.default_rng(2), find_metric(name), [], []
    for _ in range(1500):
        truth = (rng.random(300) < 0.2).astype(int)
        chance = 1 / (1 + np.exp(-(2 * truth - 1.5 + rng.normal(size=300))))
        given = {
            "labels": (truth, (chance > 0.5).astype(int)),
            "probabilities": (truth, np.stack([1 - chance, chance], 1)),
            "values": (truth + 0.0, chance),
        }[metric.takes]
        values.append(compute_metric(metric, *given))
        variances.append(metric.contribute(*given).var(ddof=1) / 300)
    # A variance of 1,500 values has an error of 4 %.
    assert np.mean(variances) == pytest.approx(np.var(values, ddof=1), rel=0.12)


def test_what_is_kept_is_logarithms() -> None:
    rows = contribute_kept(METRICS["auc"], RARE, np.log(TWO))
    np.testing.assert_allclose(rows, METRICS["auc"].contribute(RARE, TWO))
    assert contribute_kept(METRICS["mae"], VALUES, VALUES + 1).tolist() == pytest.approx([1] * ROWS)


def test_nothing_to_divide_by() -> None:
    assert divide(np.zeros(3), np.zeros(3)).tolist() == [0, 0, 0]
    perfect = METRICS["rmse"].contribute(VALUES, VALUES)
    assert perfect.tolist() == [0.0] * ROWS
