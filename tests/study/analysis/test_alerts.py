"""Every alert, when it is due and only then."""

from dataclasses import replace
from typing import Any

import pytest

from dropkit.study.analysis import analyze
from dropkit.study.analysis.alerts import Alert
from dropkit.study.record.measure import ERROR
from helpers.fabricated import make_analysis, make_record, make_run

NONE = [0.20, 0.21, 0.22, 0.20, 0.23]
L1 = [0.19, 0.22, 0.20, 0.21, 0.23]


def text(*args: object, **settings: object) -> str:
    return "\n".join(map(str, make_analysis(*args, **settings).alerts))


def test_nothing_to_beware_of_but_the_few_rows() -> None:
    assert text({"none": NONE, "l1": L1}) == (
        "The test set has only 200 rows: one row changes the error by 0.50 points."
    )
    assert text({"none": NONE, "l1": L1}, task="regression") == ""


def test_divergence() -> None:
    said = text({"none": [*NONE[:4], None], "l1": [None] * 5})
    assert (
        "The baseline diverged in 1 of 5 runs: its loss became infinite or NaN. Its numbers" in said
    )
    assert "l1 diverged in 5 of 5 runs: its loss became infinite or NaN. A lower" in said


def test_momentum_that_differs() -> None:
    steps = {"lr": 0.05, "momentum": 0.95}
    runs = [make_run("l1", seed, error, arguments=steps) for seed, error in enumerate(L1)]
    said = text({"none": NONE, "l1": L1}, runs=runs)
    assert "learning rate 0.05 and momentum 0.95 for l1" in said


def test_diverged_runs_count_as_the_constant_answer_in_a_second_version() -> None:
    said = text({"none": [0.2, 0.2, 0.2], "l1": [0.1, 0.1, None]}, constant_value=0.5)
    # -0.1, -0.1, +0.3: mean 1/30, s = 0.231, t(2) = 4.303.
    assert "predicting the majority class, l1 differs from the baseline by +3.33 points" in said
    assert "counts as" not in text({"none": [0.2, 0.2], "l1": [0.1, 0.1]}, constant_value=0.5)
    assert "counts as" not in text({"none": [0.2, 0.2], "l1": [0.1, None]})


def test_a_caller_from_python_reads_of_arguments() -> None:
    note = "column 'zip' is read as categories; --read zip=number changes it"
    record = make_record({"none": NONE, "l1": NONE}, notes=(note,))
    assert note in map(str, analyze(record).alerts)
    by_python = replace(record, command="dropkit.study.compare(X, y, ...)")
    (told,) = (str(each) for each in analyze(by_python).alerts if "zip" in str(each))
    assert told == "column 'zip' is read as categories; read=\"zip=number\" changes it"


def test_the_gravest_comes_first() -> None:
    errors = {"none": [0.2], "l1": [None]}
    severities = [alert.severity for alert in make_analysis(errors, notes=("A note.",)).alerts]
    assert severities == ["error", "warning", "note", "note"]


def test_one_seed() -> None:
    assert "One seed gives no interval" in text({"none": [0.1], "l1": [0.1]})


def test_learning_rates_that_differ() -> None:
    runs = [make_run("l1", seed, error, lr=0.1) for seed, error in enumerate(L1)]
    said = text({"none": NONE, "noise": NONE, "l1": L1}, runs=runs)
    assert (
        "not train with the same settings: learning rate 0.05 for baseline, noise; "
        "learning rate 0.1 for l1." in said
    )


def test_what_is_solved_for_has_no_learning_rate() -> None:
    ridge = [make_run("dropout-ridge", s, 0.2, steps=1, task="regression") for s in range(2)]
    fast = [make_run("l1", s, 0.2, lr=0.1, task="regression") for s in range(2)]
    errors = {"none": [0.2] * 2, "dropout-ridge": [0.2] * 2, "l1": [0.2] * 2}
    said = text(errors, runs=ridge + fast, task="regression")
    assert "the same settings: learning rate 0.05 for baseline; learning rate 0.1 for l1." in said


@pytest.mark.parametrize(
    ("method", "losses", "due"),
    [
        ("l1", (1.0, 0.8, 0.6, 0.4, 0.2), True),
        ("l1", (1.0, 0.8, 0.6, 0.4), False),
        ("l1", (1.0, 0.8, 0.2, 0.4, 0.3), False),
        ("l1", (1.0, 0.8, 0.6, 0.4, 0.3999), False),
        ("l1", (None, None, None, None, 0.2), False),
        ("dropout+early-stopping", (1.0, 0.8, 0.6, 0.4, 0.2), False),
    ],
    ids=["falling", "short", "risen", "level", "lost", "stopped on purpose"],
)
def test_still_falling(method: str, losses: tuple[float | None, ...], due: bool) -> None:
    runs = [make_run(method, seed, error, val_loss=losses) for seed, error in enumerate(L1)]
    said = text({"none": NONE, method: L1}, runs=runs)
    assert (f"still falling at the last epoch for {method}:" in said) == due


@pytest.mark.parametrize(("seeds", "due"), [(5, True), (3, True), (2, False)])
def test_a_baseline_that_overfits_as_it_trains(seeds: int, due: bool) -> None:
    losses = (1.0, 0.3, 0.5, 0.7, 0.9)
    runs = [make_run("none", seed, 0.2, val_loss=losses) for seed in range(seeds)]
    said = text({"none": NONE, "l1": L1}, runs=runs)
    assert ("its validation loss is lowest around epoch 2 of 5 and then rises" in said) == due


def test_the_datas_own_notes() -> None:
    assert text({"none": NONE}, notes=("A note.",)).endswith("A note.")


def test_alerts_are_data() -> None:
    errors = {"none": [*NONE[:4], None], "l1": L1}
    diverged, few = make_analysis(errors).alerts
    assert (diverged.kind, diverged.severity) == ("diverged", "error")
    assert diverged.facts == {"method": "baseline", "diverged": 1, "runs": 5}
    assert (few.kind, few.severity, few.facts) == (
        "few test rows",
        "note",
        {"rows": 200, "measure": ERROR, "folds": None},
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"p": None, "opposite": False},
            "One seed contributes more to l1's mean difference from the baseline than all other "
            "seeds together:",
        ),
        (
            {"p": 0.2, "opposite": False},
            "normally distributed differences. It gives p = 0.200.",
        ),
        (
            {"p": 1e-5, "opposite": True},
            "The mean and the median of l1's differences from the baseline have opposite signs",
        ),
        (
            {"p": 1e-5, "opposite": True},
            "normally distributed differences. It gives p < 0.001.",
        ),
    ],
)
def test_which_run_or_sign_makes_a_mean_doubtful(facts: dict[str, Any], expected: str) -> None:
    assert expected in str(Alert("skewed", {"method": "l1", "each": "seed"} | facts))
