"""The calibration error: right by brute force, unbiased, and beside it what chance shows."""

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from dropkit.study.calibration import BINS, measure_calibration
from dropkit.study.record import Miscalibration

Array = npt.NDArray[np.float64]


def measure(confidence: Array, correct: Array, *, simulate: bool = False) -> Miscalibration:
    found = measure_calibration(confidence, correct, simulate=simulate)
    assert found is not None
    return found


def estimate_by_pairs(confidence: Array, correct: Array, bins: int) -> float:
    """The definition, pair by pair, for confidences that all differ."""
    total, order = 0.0, np.argsort(confidence)
    for rows in np.array_split(order, bins):
        gaps = correct[rows] - confidence[rows]
        pairs = [gaps[i] * gaps[j] for i in range(len(rows)) for j in range(len(rows)) if i != j]
        total += len(rows) / len(order) * np.mean(pairs)
    return total


@pytest.mark.parametrize("rows", [2, 15, 20, 150, 600])
def test_pair_by_pair(rows: int) -> None:
    rng = np.random.default_rng(rows)
    confidence, correct = rng.random(rows), rng.integers(0, 2, rows).astype(float)
    expected = estimate_by_pairs(confidence, correct, max(1, min(BINS, rows // 10)))
    assert measure(confidence, correct).squared == pytest.approx(expected, rel=1e-9)


def test_exactly_unbiased_over_all_labels() -> None:
    """Over every labelling with its probability: 0 if calibrated, else the square of the gap."""
    confidence = np.array([0.55, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99])
    for truth, expected in ((confidence, 0.0), (confidence - 0.3, 0.3**2)):
        mean = sum(
            math.prod(q if y else 1 - q for q, y in zip(truth, labels, strict=True))
            * measure(confidence, np.array(labels, float)).squared
            for labels in product((0, 1), repeat=8)
        )
        assert mean == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("rows", [100, 360, 2000])
@pytest.mark.parametrize("sure", [1, 8])
def test_a_calibrated_net_shows_nothing_on_average_and_stays_below_what_chance_shows(
    rows: int, sure: int
) -> None:
    rng, rounds = np.random.default_rng([rows, sure]), 1500
    confidence = 1 - 0.5 * rng.random(rows) ** sure
    found = [
        measure(confidence, (rng.random(rows) < confidence).astype(float)).squared
        for _ in range(rounds)
    ]
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(rounds)
    chance = measure(confidence, np.ones(rows), simulate=True).by_chance
    assert chance is not None
    # Its own 500 draws have an error, too.
    error = math.sqrt(0.05 * 0.95 * (1 / rounds + 1 / 500))
    assert abs(np.mean(np.array(found) > chance) - 0.05) < 4 * error


def test_a_net_that_is_too_sure_shows_by_how_much() -> None:
    rng, rounds, rows = np.random.default_rng(0), 1000, 400
    confidence = 0.6 + 0.4 * rng.random(rows)
    truth = confidence - 0.08 - 0.1 * (confidence > 0.9)
    found = [
        measure(confidence, (rng.random(rows) < truth).astype(float)).squared for _ in range(rounds)
    ]
    expected = np.mean([np.mean(gap) ** 2 for gap in np.array_split((confidence - truth)[
        np.argsort(confidence)], BINS)])  # fmt: skip
    # Within a bin the gaps are all but equal.
    error = 4 * np.std(found) / math.sqrt(rounds)
    assert abs(np.mean(found) - expected) < error + 0.02 * expected
    assert math.sqrt(expected) == pytest.approx(0.12, abs=0.02)


def test_the_order_of_equally_sure_rows_does_not_matter() -> None:
    """A net that always says 60 %, on rows that are sorted by class."""
    confidence = np.full(300, 0.6)
    sorted_by_class = np.arange(300) < 180
    assert abs(measure(confidence, sorted_by_class.astype(float)).squared) < 0.001
    mixed = np.concatenate([[0.5], confidence])  # a bin of one row says nothing
    found = measure(mixed, np.concatenate([[1.0], sorted_by_class])).squared
    assert found == pytest.approx(
        measure(confidence, sorted_by_class.astype(float)).squared, rel=0.01
    )


def test_too_few_rows_and_certain_nets() -> None:
    assert measure_calibration([0.9], [1.0]) is None
    assert measure_calibration([], []) is None
    assert measure(np.ones(50), np.ones(50), simulate=True) == Miscalibration(0.0, 0.0)
    wrong = measure(np.ones(50), np.zeros(50), simulate=True)
    assert (wrong.error, wrong.by_chance) == (1.0, 0.0)


def test_many_rows_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    confidence = 0.5 + 0.5 * np.random.default_rng(0).random(500)
    whole = measure(confidence, np.ones(500), simulate=True).by_chance
    monkeypatch.setattr("dropkit.study.calibration._AT_ONCE", 100)
    assert measure(confidence, np.ones(500), simulate=True).by_chance == pytest.approx(whole)
