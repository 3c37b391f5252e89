"""Which difference matters, and what is said of one that does not."""

import pytest

from dropkit.study.analysis.worthwhile import choose_threshold
from dropkit.study.record import Measure
from helpers.fabricated import make_analysis, make_record

NONE = [0.20, 0.21, 0.22, 0.20, 0.23]
CLOSE = [0.195, 0.20, 0.215, 0.19, 0.225]


def threshold(task: str, **settings: object) -> float | None:
    return choose_threshold(make_record({"none": [0.2]}, task=task, **settings), 0.2)


def test_defaults() -> None:
    assert threshold("classification") == pytest.approx(0.02)
    assert threshold("regression", constant_value=3.0) == pytest.approx(0.03)
    assert threshold("regression") is None
    assert threshold("multi-label") == pytest.approx(0.02)
    assert threshold("multi-output", constant_value=1.0) == pytest.approx(0.01)
    assert threshold("other") is None
    auc = Measure("auc", "test AUC", higher_is_better=True)
    assert threshold("classification", measure=auc) is None


def test_points_or_the_targets_units() -> None:
    assert threshold("classification", study={"worthwhile": 0.5}) == pytest.approx(0.005)
    assert threshold("regression", study={"worthwhile": 0.5}) == 0.5


def test_a_significant_difference_that_does_not_matter() -> None:
    said = make_analysis({"none": NONE, "l1": CLOSE}).verdict
    assert said.headline == (
        "No difference that matters: l1 is within 2.12 points of the baseline's test error"
    )
    assert said.details[0].startswith("l1 lowers the test error by 0.70 points")
    assert said.step.command == ""
    said = make_analysis({"none": NONE, "l1": CLOSE}, study={"worthwhile": 0.1}).verdict
    assert said.headline.startswith("l1 lowers the test error by 0.70 points")


def test_no_equivalence_without_an_interval_within_the_threshold() -> None:
    wide = [0.18, 0.23, 0.22, 0.18, 0.25]
    said = make_analysis({"none": NONE, "l1": wide}).verdict
    assert said.headline.startswith("No method differs significantly")
    settings = {"study": {"worthwhile": 0.9}}
    said = make_analysis({"none": NONE, "l1": CLOSE}, **settings).verdict
    assert said.headline.endswith("; a gain below 0.90 points may not matter")


def test_every_method_must_be_near() -> None:
    wide = [0.21, 0.20, 0.22, 0.21, 0.225]
    said = make_analysis({"none": NONE, "l1": CLOSE, "l2": wide}, study={"worthwhile": 5}).verdict
    assert said.headline == (
        "No difference that matters: every method is within 5.00 points of the baseline's test "
        "error"
    )
    far = [0.40, 0.42, 0.41, 0.43, 0.44]
    said = make_analysis({"none": NONE, "l1": CLOSE, "l2": far}, study={"worthwhile": 5}).verdict
    assert "No difference" not in said.headline
