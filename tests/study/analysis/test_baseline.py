"""Whether the baseline overfits: never denied without seeds that show it."""

import pytest

from dropkit.study.analysis.baseline import Baseline, examine_baseline
from helpers.fabricated import make_record, make_run

FLAT = (1.0, 0.5, 0.4, 0.4, 0.4)


def baseline(*train_losses: float, val_loss: tuple[float, ...] = FLAT) -> Baseline:
    runs = [
        make_run("none", seed, 0.2, test_loss=0.4, train_loss=loss, val_loss=val_loss)
        for seed, loss in enumerate(train_losses)
    ]
    return examine_baseline(make_record({"none": [0.2] * len(runs)}, runs=runs))


def test_excess_by_hand() -> None:
    # (0.4 - 0.3)/0.4, (0.4 - 0.2)/0.4, (0.4 - 0.1)/0.4: mean 0.5, s = 0.25, t(2) = 4.3027.
    excess = baseline(0.3, 0.2, 0.1).excess_loss
    assert excess is not None
    assert excess.mean == pytest.approx(0.5)
    assert excess.low == pytest.approx(0.5 - 4.3027 * 0.25 / 3**0.5, abs=1e-4)


@pytest.mark.parametrize(
    ("train_losses", "expected"),
    [
        ((0.39, 0.391, 0.389), False),
        ((0.41, 0.42, 0.40), False),  # training rows fare worse, as under noise
        ((0.1, 0.1, 0.11), True),
        ((0.39, 0.2, 0.4), True),  # perhaps not, but the seeds do not show it
        ((0.39,), True),
        ((0.4, 0.4, 0.4), True),
    ],
)
def test_only_seeds_can_deny_it(train_losses: tuple[float, ...], expected: bool) -> None:
    assert baseline(*train_losses).overfits == expected


def test_a_rising_validation_loss_is_overfitting_whatever_the_scored_weights() -> None:
    assert baseline(0.39, 0.391, 0.389, val_loss=(1.0, 0.3, 0.5, 0.7, 0.9)).overfits


def test_without_a_finished_run_nothing_is_denied() -> None:
    assert examine_baseline(make_record({"none": [None, None]})).overfits


@pytest.mark.parametrize(
    ("test_error", "train_error", "expected"),
    [(0.5, 0.5, False), (0.5, 0.46, False), (0.5, 0.44, True), (0.3, 0.5, True)],
)
def test_only_one_that_is_constant_on_all_rows_has_not_learned(
    test_error: float, train_error: float, expected: bool
) -> None:
    record = make_record({"none": [test_error] * 2}, train_error=train_error, constant_value=0.5)
    found = examine_baseline(record)
    assert found.has_learned == expected
    assert found.is_constant == (test_error == 0.5)
