"""Scores against hand-computed cases and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import hamming_loss, log_loss

from dropkit.study.record import pack_rows, unpack_rows
from dropkit.study.training.scoring import average, calibration_error, score


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
    assert scores.calibration is None


def test_calibration_by_hand() -> None:
    # Two bins are used: (0.6, 0.667] with accuracy 1/2 and (0.933, 1] with accuracy 1.
    confidence = torch.tensor([0.65, 0.65, 1.0, 1.0], dtype=torch.float64)
    correct = torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert calibration_error(confidence, correct) == pytest.approx(0.5 * 0.15)


def test_a_confidence_on_a_bins_edge_belongs_to_the_lower_bin() -> None:
    both = torch.tensor([1 / 15, 1 / 15 + 1e-9], dtype=torch.float64)
    # In one bin the errors +, - would cancel; in two they add.
    correct = torch.tensor([2 / 15, 0.0], dtype=torch.float64)
    assert calibration_error(both, correct) == pytest.approx(1 / 15, abs=1e-8)


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
    assert scores.calibration == calibration_error(confidence, correct)


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
