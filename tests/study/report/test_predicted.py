"""What a page shows of the predictions for the test rows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropkit.study.analysis import Analysis, analyze
from dropkit.study.record.predictions import Predictions
from dropkit.study.report import write
from dropkit.study.report.error_table import tabulate_classes, tabulate_labels, tabulate_numbers
from dropkit.study.report.html import render
from dropkit.study.report.predicted import (
    _bin,
    _confuse,
    choose_shown,
    describe_calibration,
    has_matrix,
)
from helpers.fabricated import make_analysis

TARGETS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
ANSWERS = {
    ("none", 0): [0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
    ("none", 1): [0, 0, 0, 1, 1, 1, 2, 2, 2, 2],
    ("dropout", 0): [0, 0, 0, 0, 1, 0, 2, 2, 2, 2],
    ("dropout", 1): [0, 0, 0, 0, 1, 1, 2, 2, 2, 2],
}


def make_classes() -> tuple[Analysis, Predictions]:
    record = make_analysis({"none": [0.2, 0.1], "dropout": [0.1, 0.0]}).record
    data = replace(record.data, outputs=3, classes=("a", "<b>", "c"))
    shares = {key: np.full((10, 3), 0.1) for key in ANSWERS}
    for key, answers in ANSWERS.items():
        shares[key][np.arange(10), answers] = 0.8
    kept = Predictions(TARGETS, {key: np.log(share) for key, share in shares.items()})
    return analyze(replace(record, data=data)), kept


def let_win(analysis: Analysis, method: str = "dropout") -> Analysis:
    return replace(analysis, verdict=replace(analysis.verdict, best=method))


def test_the_method_that_the_verdict_names_is_shown_and_none_that_is_best_by_luck() -> None:
    none = [0.20, 0.21, 0.22, 0.20, 0.23, 0.21, 0.20, 0.22]
    errors = {"none": none, "dropout": [error - 0.1 + 0.01 * (error > 0.2) for error in none]}
    luck = [0.00, 0.40, 0.40, 0.00, 0.00, 0.00, 0.00, 0.00]  # the lowest mean, and not significant
    analysis = make_analysis({**errors, "l1": luck})
    keys = [(run.method, run.seed) for run in analysis.record.runs]
    shares = np.log(np.full((10, 2), 0.5))
    kept = Predictions(TARGETS % 2, dict.fromkeys(keys, shares))
    assert analysis.verdict.best == "dropout"
    assert choose_shown(analysis, kept) == ("none", "dropout")
    told = "Shown: the baseline and dropout, the best of those that are significantly better."
    assert told in render(analysis, kept)
    alone = make_analysis({"none": none, "l1": luck})
    assert alone.verdict.best == ""
    assert choose_shown(alone, kept) == ("none",)
    told = "Shown: only the baseline, because the verdict recommends no method."
    assert told in render(alone, kept)


def test_classes_that_are_confused_are_counted_over_the_seeds() -> None:
    analysis, kept = make_classes()
    found = _confuse(analysis.record, kept, "none", 3)
    np.testing.assert_allclose(found, [[5 / 8, 3 / 8, 0], [0, 1, 0], [0, 0, 1]])


def test_errors_of_every_class_have_an_interval_over_the_seeds() -> None:
    analysis, kept = make_classes()
    first, second, third = tabulate_classes(analysis.record, kept, ("none", "dropout")).rows
    assert (first.name, first.size) == ("a", "4")
    assert first.errors == ("37.5 [0.0, 100.0]", "0.0")  # two seeds tell little
    assert second.errors[1] == "25.0 [0.0, 100.0]"
    assert third.errors == ("0.0", "0.0")


def test_a_baseline_alone_is_shown_alone() -> None:
    analysis, kept = make_classes()
    alone = analyze(replace(analysis.record, methods=("none",)))
    assert choose_shown(alone, kept) == ("none",)
    assert "Predictions for the test rows" in render(alone, kept)


def test_what_has_no_predictions_is_not_shown() -> None:
    analysis, kept = make_classes()
    analysis = let_win(analysis)
    of_dropout = {key: array for key, array in kept.predicted.items() if key[0] == "dropout"}
    assert choose_shown(analysis, Predictions(TARGETS, of_dropout)) == ("dropout",)
    assert "Predictions for the test rows" in render(analysis, Predictions(TARGETS, of_dropout))
    assert "Predictions for the test rows" not in render(analysis, Predictions(TARGETS, {}))


def test_confidence_beside_accuracy() -> None:
    analysis, kept = make_classes()
    confidence, accuracy, half = _bin(analysis.record, kept, "none")
    np.testing.assert_allclose(confidence, 0.8)
    assert accuracy.mean() == pytest.approx(17 / 20)
    assert (half[accuracy == 1] == 0).all()


def test_the_calibration_error_stands_beside_what_chance_shows() -> None:
    analysis, kept = make_classes()
    told = (
        "Calibration error of dropout: 5.00 %. By chance, even a perfectly calibrated network "
        "can have a calibration error of 3.00 % on a test set of this size."
    )
    assert describe_calibration(analysis, ("none", "dropout")).endswith(told)
    page = render(let_win(analysis), kept)
    assert told in page
    assert "<td>≤ 3.00</td>" in page


def test_the_page_shows_them_escaped() -> None:
    analysis, kept = make_classes()
    page = render(analysis, kept)
    assert "Predictions for the test rows" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "Predictions for the test rows" not in render(analysis)


def test_of_many_classes_there_is_no_matrix() -> None:
    analysis, kept = make_classes()
    record = replace(analysis.record, data=replace(analysis.record.data, outputs=21, classes=()))
    assert not has_matrix(record)
    assert "Classes that are confused" not in render(analyze(record), kept)


def test_numbers_are_drawn_against_the_true_ones(tmp_path: Path) -> None:
    analysis = make_analysis({"none": [2.0, 2.1], "dropout": [1.0, 1.1]}, task="regression")
    truth = np.linspace(0, 10, 30)
    keys = [(method, seed) for method in ("none", "dropout") for seed in (0, 1)]
    Predictions(truth, dict.fromkeys(keys, truth + 1)).save(tmp_path)
    write(analysis, tmp_path)
    assert "Predicted against true values" in (tmp_path / "report.html").read_text()


KEYS = [(method, seed) for method in ("none", "dropout") for seed in (0, 1)]


def test_errors_of_every_label() -> None:
    held = np.array([[1, 0], [1, 0], [0, 1], [1, 0]])
    record = make_analysis({"none": [0.2, 0.1], "dropout": [0.1, 0.0]}, task="multi-label").record
    record = replace(record, data=replace(record.data, targets=("a", "<b>"), outputs=2))
    right = np.where(held == 1, 0.6, 0.4)
    wrong = right.copy()
    wrong[0, 0] = 0.3
    shares = dict.fromkeys(KEYS, right) | {("none", 0): wrong, ("none", 1): wrong}
    kept = Predictions(held, {key: np.log(share) for key, share in shares.items()})
    table = tabulate_labels(record, kept, ("none", "dropout"))
    assert [(row.name, row.size) for row in table.rows] == [("a", "3"), ("<b>", "1")]
    assert [row.errors for row in table.rows] == [("25.0", "0.0"), ("0.0", "0.0")]
    page = render(analyze(record), kept)
    assert "Errors by label" in page
    assert "&lt;b&gt;" in page


def test_errors_of_every_number_are_in_its_own_units() -> None:
    truth = np.array([[0.0, 1000.0], [2.0, 3000.0]])
    record = make_analysis({"none": [0.2], "dropout": [0.1]}, task="multi-output").record
    data = replace(record.data, targets=("a", "b"), outputs=2, units=(1.0, 1234.5))
    record = replace(record, data=data)
    off, near = np.array([1.0, -300.0]), np.array([0.0, 20.0])
    kept = Predictions(truth, {("none", 0): truth + off, ("dropout", 0): truth + near})
    table = tabulate_numbers(record, kept, ("none", "dropout"))
    assert [(row.name, row.size) for row in table.rows] == [("a", "1.00"), ("b", "1234")]
    assert [row.errors for row in table.rows] == [("1.00", "0.00"), ("300", "20.0")]
    assert "Errors by target" in render(analyze(record), kept)
