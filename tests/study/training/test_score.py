"""Scores against hand-computed cases and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import hamming_loss, log_loss

from dropkit.study.calibration import measure_calibration
from dropkit.study.record import pack_rows, unpack_rows
from dropkit.study.training.scoring import average, score


def test_classification_against_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 4, (50,), generator=generator)
    scores, rows = score(logits, target, "classification")
    probabilities = logits.softmax(1).numpy()
    assert scores.loss == pytest.approx(log_loss(target.numpy(), probabilities), abs=1e-12)
    assert scores.value == np.mean(probabilities.argmax(1) != target.numpy())
    assert rows.mean() == scores.value


def test_regression_is_in_the_targets_own_units() -> None:
    target = torch.tensor([0.0, 1.0])
    scores, rows = score(torch.tensor([[0.5], [1.0]]), target, "regression", scale=10.0)
    assert scores.loss == pytest.approx(0.125)
    assert scores.value == pytest.approx(math.sqrt(25.0 / 2))
    assert rows.tolist() == [25.0, 0.0]
    assert scores.miscalibration is None


def test_calibration_is_of_the_predicted_class() -> None:
    outputs = torch.tensor([[0.75, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.25]]).log()
    scores, _ = score(outputs, torch.tensor([0, 1, 1, 0]), "classification")
    assert scores.miscalibration is not None
    # Differences 1/4, 1/4, -3/4 and 1/4: of the sum 0 and the squares 3/4, over 12 pairs.
    assert scores.miscalibration.squared == pytest.approx(-0.75 / 12)
    assert scores.miscalibration.by_chance is None


def test_average_is_of_probabilities_not_of_logits() -> None:
    first, second = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    expected = (first.double().softmax(1) + second.double().softmax(1)) / 2
    torch.testing.assert_close(average([first, second], "classification").exp(), expected)


def test_average_of_one_net_predicts_what_it_predicts() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]])
    expected = logits.double().softmax(1)
    torch.testing.assert_close(average([logits], "classification").softmax(1), expected)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_rows_survive_packing(count: int) -> None:
    rng = np.random.default_rng(count)
    wrong = rng.integers(0, 2, count).astype(float)
    assert np.array_equal(
        unpack_rows(pack_rows(wrong, "classification"), "classification", count), wrong
    )
    squares = rng.random(count).astype(np.float32).astype(float)
    assert np.array_equal(
        unpack_rows(pack_rows(squares, "regression"), "regression", count), squares
    )


def test_labels_are_wrong_one_by_one() -> None:
    outputs = torch.tensor([[2.0, -1.0, 0.5], [-3.0, -1.0, 4.0]])
    target = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    scores, rows = score(outputs, target, "multi-label")
    shares = outputs.double().sigmoid().numpy()
    assert scores.value == hamming_loss(target.numpy(), shares > 0.5) == 0.5
    assert rows.tolist() == pytest.approx([1 / 3, 2 / 3])
    losses = [log_loss(target[:, i], shares[:, i], labels=[0, 1]) for i in range(3)]
    assert scores.loss == pytest.approx(np.mean(losses))
    confidence = torch.from_numpy(np.maximum(shares, 1 - shares)).flatten()
    correct = torch.tensor([1.0, 0, 1, 0, 1, 0])
    found = measure_calibration(confidence.numpy(), correct.numpy())
    assert scores.miscalibration is not None
    assert found is not None
    assert scores.miscalibration.squared == pytest.approx(found.squared)


def test_several_numbers_are_averaged_in_their_units() -> None:
    target, outputs = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    scores, rows = score(outputs, target, "multi-output", scale=torch.tensor([1.0, 3.0]))
    assert rows.tolist() == [0.5, 4.5]
    assert scores.value == pytest.approx(math.sqrt(2.5))
    assert scores.loss == 0.5


def test_average_of_labels_is_of_probabilities() -> None:
    first, second = torch.tensor([[4.0, -50.0]]), torch.tensor([[0.0, -40.0]])
    expected = (first.double().sigmoid() + second.double().sigmoid()) / 2
    found = average([first, second], "multi-label")
    torch.testing.assert_close(found.sigmoid(), expected)
    torch.testing.assert_close(average([first], "multi-label"), first.double())
