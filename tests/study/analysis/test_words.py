"""Numbers as text: signs, units, digits."""

import pytest

from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.words import (
    choose_verb,
    format_difference,
    format_interval,
    format_value,
)
from dropkit.study.record.measure import ERROR, RMSE, Measure


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0145, "1.45"), (-0.0145, "−1.45"), (0.00001, "0.00"), (-0.00001, "0.00"), (1.0, "100.00")],
)
def test_classification_is_in_per_cent(value: float, text: str) -> None:
    assert format_value(value, ERROR) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(51234.5, "51234"), (102.4, "102"), (3.1, "3.10"), (-0.0123, "−0.0123"), (0.0, "0.00"),
     (1.25e-7, "1.25e-07")],
)  # fmt: skip
def test_regression_keeps_three_digits(value: float, text: str) -> None:
    assert format_value(value, RMSE) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [(3.4567, 0.0213, "3.457 [3.435, 3.478]"), (-762.0, 761.6, "−762.0 [−1523.6, −0.4]"),
     (1.08, 1.037, "1.08 [0.04, 2.12]"), (1.0, 1.2, "1.0 [−0.2, 2.2]"),
     (51400.0, 466.0, "51400 [50934, 51866]"), (0.5, 0.25, "0.50 [0.25, 0.75]")],
)  # fmt: skip
def test_regression_keeps_two_digits_of_the_half_width(mean: float, half: float, text: str) -> None:
    estimate = Estimate(mean, mean - half, mean + half, 5)
    assert f"{format_difference(estimate, RMSE)} {format_interval(estimate, RMSE)}" == text


def test_signs_and_units() -> None:
    one = Estimate(0.01, None, None, 1)
    assert format_difference(one, ERROR, signed=True) == "+1.00 points"
    assert format_difference(one, RMSE, signed=True) == "+0.0100"
    assert format_difference(-one, ERROR) == "−1.00 points"
    assert format_value(0.0, ERROR, signed=True) == "0.00"


def test_an_interval_turns_with_its_sentence() -> None:
    estimate = Estimate(-0.02, -0.03, -0.01, 5)
    assert format_interval(estimate, ERROR) == "[−3.00, −1.00]"
    assert format_interval(-estimate, ERROR) == "[1.00, 3.00]"
    assert format_interval(Estimate(0.1, None, None, 1), ERROR) == "[no interval]"


def test_a_better_method_raises_what_is_better_when_higher() -> None:
    auc = Measure("auc", "test AUC", higher_is_better=True)
    assert [choose_verb(auc, better=better) for better in (True, False)] == ["raises", "lowers"]
    assert [choose_verb(ERROR, better=better) for better in (True, False)] == ["lowers", "raises"]
