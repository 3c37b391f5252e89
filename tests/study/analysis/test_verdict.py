"""The verdict's words: each branch, and never a claim stronger than its interval."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dropkit.study.analysis import analyze
from dropkit.study.analysis.advice import NextStep
from dropkit.study.record import Measure
from dropkit.study.record.measure import ERROR
from dropkit.study.report.numbers import format_rows
from helpers.fabricated import make_analysis, make_record, make_run

NONE = [0.20, 0.21, 0.22, 0.20, 0.23]


def shifted(*shifts: float) -> list[float]:
    return [error + shift for error, shift in zip(NONE, shifts, strict=True)]


BETTER = shifted(-0.10, -0.11, -0.10, -0.09, -0.10)
ALIKE = shifted(0.01, -0.01, 0.02, -0.02, 0.005)
WORSE = shifted(0.10, 0.11, 0.10, 0.09, 0.10)


WIDE = shifted(0.05, -0.04, 0.03, -0.04, 0.02)
CLOSE = shifted(-0.005, -0.006, -0.005, -0.006, -0.005)  # about one row of 200
EXACT = {"study": {"worthwhile": 0.0}}  # every difference matters


def test_a_better_method_with_its_interval() -> None:
    said = make_analysis({"none": NONE, "l1": BETTER}).verdict
    assert (
        said.headline
        == "l1 lowers the test error by 10.00 points [6.07, 13.93] against the baseline"
    )
    # Other rows would do 20 of 200 times 0.9 of the square root of 1/20 otherwise: about 2.
    assert said.details[0] == (
        "The 95 % interval accounts for the choice of seeds and test rows, but not of training "
        "data."
    )
    assert said.step.command == "dropkit compare made-up --methods none,l1 --tune 20"


FALLING, RISEN = (1.0, 0.8, 0.6, 0.4, 0.2), (1.0, 0.8, 0.2, 0.4, 0.3)
EPOCHS = "dropkit compare made-up --until-converged"


@pytest.mark.parametrize(
    ("errors", "falling", "command"),
    [
        (BETTER, ("none",), EPOCHS),
        (BETTER, ("l1",), "dropkit compare made-up --methods none,l1 --tune 20"),
        (WORSE, ("l1",), EPOCHS),
        (WORSE, (), ""),
        (ALIKE, ("none", "l1"), EPOCHS),
        (NONE, ("l1",), EPOCHS),
    ],
    ids=["better", "better, and to gain", "worse", "worse for good", "alike", "identical"],
)
def test_longer_training_comes_first_where_it_may_change_the_verdict(
    errors: list[float], falling: tuple[str, ...], command: str
) -> None:
    runs = [
        make_run(method, seed, error, val_loss=FALLING if method in falling else RISEN)
        for method, values in {"none": NONE, "l1": errors}.items()
        for seed, error in enumerate(values)
    ]

    def step(until_converged: bool | None) -> NextStep:
        study = {} if until_converged is None else {"until_converged": until_converged}
        return make_analysis({"none": NONE, "l1": errors}, runs=runs, study=study).verdict.step

    assert step(False).command == command
    if command == EPOCHS:
        assert not step(False).keeps_runs
        assert step(False).text.startswith("Train longer first")
    for cannot_search in (True, None):
        assert step(cannot_search).command != EPOCHS


def test_the_best_of_several_is_called_so_and_its_interval_is_wider() -> None:
    said = make_analysis({"none": NONE, "l1": BETTER, "noise": WIDE}).verdict
    bounds = re.search(
        r"^l1, the best of 2 methods, lowers .* \[([\d.]+), ([\d.]+)\]", said.headline
    )
    assert bounds is not None
    assert float(bounds[1]) < 6.07 < 13.93 < float(bounds[2])
    assert said.details[0].endswith(
        " The interval is widened because l1 was chosen as the best of 2 methods."
    )


def test_methods_of_earlier_studies_are_counted() -> None:
    earlier = ("none", "l1", "noise", "max-norm")
    said = make_analysis({"none": NONE, "l1": BETTER}, compared=earlier).verdict
    assert said.headline.startswith("l1, the best of 3 methods, lowers")
    assert said.details[-1].startswith("2 other methods were compared earlier in this run folder")


def test_looks_are_counted() -> None:
    said = make_analysis({"none": NONE, "l1": BETTER}, looks=(3, 4, 5), **EXACT).verdict
    assert said.headline.startswith("No method differs significantly from the baseline over 5")
    assert said.details[0].endswith("for l1 (better), with too few seeds for an interval.")
    twice = {"none": NONE * 2, "l1": BETTER * 2}
    assert make_analysis(twice, looks=(9, 10), **EXACT).verdict.headline.startswith("l1 lowers")
    assert "The results were analyzed 3 times (at 3, 4, 5 seeds)" in said.details[-1]
    said = make_analysis({"none": NONE, "l1": BETTER}, looks=(5,), **EXACT).verdict
    assert said.headline.startswith("l1 lowers")
    assert "analyzed" not in "".join(said.details)


def test_a_difference_on_few_rows_is_not_settled_for_new_ones() -> None:
    errors, earlier = {"none": NONE, "l1": CLOSE}, ("noise", "max-norm")
    said = make_analysis(errors, compared=earlier, **EXACT).verdict
    assert said.headline.startswith("l1 lowers the test error by 0.54 points [")
    assert said.headline.endswith("against the baseline on these 200 test rows")
    assert " may not help on new rows. The interval is widened" in said.details[0]
    assert said.step.text.startswith("Use more test rows")
    assert said.step.command == ""
    share = {"worthwhile": 0.0, "test_fraction": 0.2}
    said = make_analysis(errors, compared=earlier, study=share).verdict
    assert said.step.command == "dropkit compare made-up --test-fraction 0.4"
    # No more can be tested where the test rows have a file of their own.
    fixed = {"worthwhile": 0.0, "test_fraction": 0.2, "test": "test.csv"}
    assert make_analysis(errors, compared=earlier, study=fixed).verdict.step.command == ""


def test_no_difference_is_an_answer() -> None:
    said = make_analysis({"none": NONE, "l1": WIDE}, study={"worthwhile": 5}).verdict
    assert said.headline == "No method differs significantly from the baseline over 5 seeds"
    # Squares sum to 0.007, so s² = (0.007 - 5 * 0.004²)/4 and the half-width 5.16 points.
    assert said.details[0] == (
        "The largest non-significant difference is +0.40 points [−4.76, 5.56] for l1 (worse); the "
        "interval includes zero."
    )
    assert re.match(
        r"With 5 seeds, a study finds a true difference of 10\.\d\d points with 80 % "
        r"probability\. Finding "
        r"5.00 points, the smallest difference that matters, takes about \d+ seeds.",
        said.details[1],
    )  # fmt: skip
    assert said.step.text == "Run more seeds; finished runs are kept."
    assert re.fullmatch(r"dropkit compare made-up --seeds \d\d", said.step.command)


def test_more_seeds_are_not_advised_where_only_rows_can_decide() -> None:
    said = make_analysis({"none": NONE, "l1": WIDE}, study={"worthwhile": 0.05}).verdict
    assert said.details[1].endswith(
        " With these test rows, no number of seeds finds 0.05 points, the smallest difference that "
        "matters."
    )
    assert said.step.text.startswith("Use more test rows, or keep the baseline")
    assert said.step.command == ""


def test_seeds_that_would_show_the_observed_difference_are_advised() -> None:
    study = {"worthwhile": 0.05}  # so small that no number of seeds finds it on these rows
    uncertain = shifted(-0.10, -0.01, -0.12, -0.02, 0.00)
    said = make_analysis({"none": NONE, "l1": uncertain}, study=study).verdict
    needed = re.search(
        r"as large as the observed one, (\d+) seeds would find it", said.details[1:][-1]
    )
    assert needed is not None
    assert said.step.text == (
        "Run more seeds, which may show a larger difference; finished runs are kept."
    )
    assert said.step.command == f"dropkit compare made-up --seeds {needed[1]}"


def test_the_sentence_and_the_table_give_one_interval() -> None:
    analysis = make_analysis({"none": NONE, "l1": WIDE})
    bounds = format_rows(analysis)[1].difference.bounds
    assert bounds != "–"
    assert f" points {bounds} for l1 " in analysis.verdict.details[0]


def test_a_difference_of_zero_is_neither_better_nor_worse() -> None:
    equal_on_average = shifted(-0.02, 0.02, -0.01, 0.01, 0.0)
    (line, *_) = make_analysis({"none": NONE, "l1": equal_on_average}, **EXACT).verdict.details
    assert "0.00 points" in line
    assert "for l1; the interval includes zero" in line


def test_the_next_step_from_python_says_how_to_keep_finished_runs() -> None:
    record = make_record({"none": NONE, "l1": WIDE}, study={"worthwhile": 5})
    by_python = replace(record, command="dropkit.study.compare(X, y, ...)")
    step = analyze(by_python).verdict.step
    assert step.text == "Run more seeds; with the same out=..., finished runs are kept."


def test_two_seeds_do_not_tell_that_more_would_not_decide() -> None:
    said = make_analysis({"none": NONE[:2], "l1": WIDE[:2]}, study={"worthwhile": 0.05}).verdict
    assert said.step.command == "dropkit compare made-up --seeds 5"


def test_worse_methods() -> None:
    said = make_analysis({"none": NONE, "l1": WORSE}).verdict
    assert (
        said.headline
        == "l1 raises the test error by 10.00 points [6.11, 13.89] against the baseline"
    )
    assert said.step.text == "Keep the baseline."
    said = make_analysis({"none": NONE, "l1": WORSE, "noise": WORSE}).verdict
    assert said.headline == "Every method raises the test error"
    assert sum(" raises the test error by 10.00 points [" in line for line in said.details) == 2
    said = make_analysis({"none": NONE, "l1": WORSE, "noise": WIDE}).verdict
    assert said.headline == "No method lowers the test error significantly"


def test_a_gain_too_small_to_matter_beside_a_harm() -> None:
    """The headline is about gains: the harm is a sentence of its own."""
    harm = shifted(0.40, 0.41, 0.40, 0.39, 0.40)
    errors = {"none": NONE, "l1": BETTER, "noise": harm}
    said = make_analysis(errors, study={"worthwhile": 16}).verdict
    assert said.headline == "No method lowers the test error by enough to matter"
    assert any(line.startswith("noise raises the test error by 40.00") for line in said.details)


def test_a_correction_for_many_methods_can_undo_a_find() -> None:
    close = shifted(-0.01, -0.03, -0.02, -0.04, -0.02)  # p = 0.009 over the seeds
    assert "lowers" in make_analysis({"none": NONE, "l1": close}, **EXACT).verdict.headline
    earlier = tuple(f"noise(std={i})" for i in range(1, 8))
    said = make_analysis({"none": NONE, "l1": close}, compared=earlier, **EXACT).verdict
    assert said.headline.startswith("No method differs significantly")
    assert said.details[0].endswith(
        "; the interval includes zero when it accounts for the choice of test rows and is "
        "corrected for all 8 methods."
    )


def test_methods_not_significantly_different_from_the_best_are_listed() -> None:
    near = [
        error + step for error, step in zip(BETTER, (0.01, -0.01, 0.01, 0.0, 0.005), strict=True)
    ]
    second = [
        error + 0.07 + step for error, step in zip(BETTER, (0.001, 0, 0.002, 0, 0), strict=True)
    ]
    said = make_analysis({"none": NONE, "l1": BETTER, "noise": near, "max-norm": second}).verdict
    assert said.headline.startswith("l1, the best of 3 methods, lowers")
    assert "Not significantly different from l1: noise." in said.details
    assert any(line.startswith("max-norm lowers the test error by") for line in said.details)


def test_the_price_stands_beside_the_claim() -> None:
    runs = [make_run("ensemble", s, e, steps=250, seconds=10.0) for s, e in enumerate(BETTER)]
    said = make_analysis({"none": NONE, "ensemble": BETTER}, runs=runs).verdict
    assert said.headline.endswith("against the baseline, with 5.0 times the updates")
    runs = [make_run("l1", s, e, seconds=4.0) for s, e in enumerate(BETTER)]
    said = make_analysis({"none": NONE, "l1": BETTER}, runs=runs).verdict
    assert said.headline.endswith("against the baseline, in 2.0 times the time")


def test_numbers_of_a_users_own_training_are_claimed_for_other_seeds() -> None:
    said = make_analysis({"none": NONE, "l1": BETTER}, task="other").verdict
    assert said.headline == (
        "l1 lowers the test value by 0.1000 [0.0912, 0.1088] against the baseline on these 200 "
        "test rows"
    )
    assert said.details[0] == (
        "The 95 % interval accounts for the choice of seeds, but not of test or training data."
    )


@pytest.mark.parametrize(
    ("train_loss", "fits"),
    [((0.299, 0.298, 0.3, 0.299, 0.297), True), ((0.01, 0.02, 0.01, 0.02, 0.01), False),
     ((0.29, 0.0, 0.2, 0.28, 0.05), False)],
)  # fmt: skip
def test_a_baseline_that_does_not_overfit(train_loss: tuple[float, ...], fits: bool) -> None:
    runs = [
        make_run("none", seed, NONE[seed], test_loss=0.3, train_loss=loss)
        for seed, loss in enumerate(train_loss)
    ]
    said = make_analysis({"none": NONE, "l1": WIDE}, runs=runs).verdict
    remedy = "The baseline does not overfit: regularization is not the remedy"
    assert (said.headline == remedy) == fits
    assert said.step.text.startswith("Use a larger model") == fits
    # 0.001, 0.002, 0, 0.001, 0.003 over 0.3: mean 0.47 %, s = 0.00114/0.3, t(4) = 2.776.
    fact = "The baseline's training loss is 0.47 % [−0.01, 0.94] lower than its test loss."
    assert said.details[0].startswith(fact) == fits


def test_a_gain_where_nothing_overfits_is_not_laid_to_regularizing() -> None:
    runs = [
        make_run("none", seed, NONE[seed], test_loss=0.3, train_loss=loss)
        for seed, loss in enumerate((0.299, 0.298, 0.3, 0.299, 0.297))
    ]
    said = make_analysis({"none": NONE, "l1": BETTER}, runs=runs).verdict
    assert said.headline.startswith("l1 lowers the test error")
    assert said.details[0].startswith("The baseline does not overfit: its training loss is 0.47 %")
    assert "something other than regularization" in said.details[0]


def test_one_seed_says_so() -> None:
    said = make_analysis({"none": [0.2], "l1": [0.1]}).verdict
    assert said.headline == "One seed cannot distinguish a difference from chance: run more seeds"
    assert said.details[0].endswith("−10.00 points for l1 (better), from a single pair of runs.")


def test_one_pair_left_by_divergence_is_one_pair() -> None:
    said = make_analysis({"none": [0.2, None, 0.2], "l1": [0.1, 0.1, None]}).verdict
    assert said.headline.startswith("One pair of finished runs cannot distinguish")


def test_seeds_lost_to_divergence_are_not_counted() -> None:
    said = make_analysis({"none": [0.2, 0.21, None], "l1": [0.21, 0.2, 0.1]}).verdict
    assert "over 2 seeds" in said.headline


def test_equal_gains_in_every_seed_claim_nothing() -> None:
    said = make_analysis({"none": [0.2, 0.21, 0.25], "l1": [0.19, 0.20, 0.24]}).verdict
    assert said.headline.startswith("No method differs significantly")
    assert "−1.00 points for l1 (better). The difference is identical for ev" in said.details[0]


def test_identical_results() -> None:
    said = make_analysis({"none": NONE, "l1": NONE}).verdict
    assert said.headline == (
        "No difference that matters: l1 and the baseline made the same errors in every run"
    )
    said = make_analysis({"none": NONE, "l1": NONE}, task="other").verdict
    assert "l1 and the baseline have the same test value for every seed." in said.details


def test_the_headline_names_diverged_runs() -> None:
    said = make_analysis({"none": NONE, "l1": [*BETTER[:4], None]}).verdict
    assert said.headline.endswith("against the baseline, but it diverged in 1 of 5 runs")
    analysis = make_analysis({"none": [*NONE[:4], None], "l1": BETTER})
    assert analysis.verdict.headline.endswith(
        "against the baseline, but the baseline diverged in 1 of 5 runs"
    )
    assert str(analysis.alerts[0]).startswith("The baseline diverged in 1 of 5 runs")
    assert analysis.verdict.step.text.startswith("Lower the learning rate")


def test_nothing_to_compare() -> None:
    assert "nothing to compare it with" in make_analysis({"none": NONE}).verdict.headline
    said = make_analysis({"none": [None, None], "l1": [0.1, 0.1]}).verdict
    assert said.headline.startswith("The baseline diverged in every run")
    said = make_analysis({"none": [0.1, 0.1], "l1": [None, None]}).verdict
    assert said.headline.startswith("Nothing can be compared")


def test_regression_speaks_of_the_targets_units() -> None:
    said = make_analysis(
        {"none": [4.0, 4.1, 4.2], "l1": [3.0, 3.05, 3.2]}, task="regression"
    ).verdict
    assert said.headline.startswith("l1 lowers the test RMSE by 1.017 [0.945, 1.088]")


def test_a_measure_that_is_better_when_higher() -> None:
    auc = Measure("auc", "test AUC", higher_is_better=True)
    said = make_analysis({"none": BETTER, "l1": NONE}, task="other", measure=auc).verdict
    assert said.headline.startswith("l1 raises the test AUC by 0.1000 [0.0912, 0.1088]")
    said = make_analysis({"none": NONE, "l1": BETTER}, task="other", measure=auc).verdict
    assert said.headline.startswith("l1 lowers the test AUC by 0.1000 [0.0912, 0.1088]")
    said = make_analysis({"none": NONE, "l1": BETTER, "noise": WIDE}, task="other", measure=auc)
    assert said.verdict.headline == "No method raises the test AUC significantly"


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("seed", range(20))
def test_no_claim_without_an_interval_that_excludes_zero(task: str, seed: int) -> None:
    """Whatever the errors: *lowers* and *raises* stand beside an interval above zero."""
    rng = np.random.default_rng(seed)
    names = ("none", "l1", "noise", "max-norm")
    errors = {
        name: [max(0.0, e) for e in 0.2 - 0.02 * i * (-1) ** i + 0.01 * rng.normal(size=4)]
        for i, name in enumerate(names)
    }
    said = make_analysis(errors, task=task).verdict
    claims = [line for line in (said.headline, *said.details) if re.search("lowers|raises", line)]
    assert claims or "No " in said.headline
    for line in claims:
        if "No method lowers" in line or "Every method raises" in line:
            continue
        bounds = re.search(r"\[([^,]*), ([^\]]*)\]", line)
        assert bounds is not None, line
        assert float(bounds[1].replace("−", "-")) >= 0, line


def test_every_effect_says_whether_it_is_of_these_rows_alone() -> None:
    errors = {"none": NONE, "l1": CLOSE, "noise": BETTER}
    said = make_analysis(errors, compared=("l2", "max-norm"), **EXACT).verdict
    assert said.headline.startswith("noise, the best of 4")
    assert "on these" not in said.headline
    (line,) = (line for line in said.details if line.startswith("l1 lowers"))
    assert line.endswith("] against the baseline on these 200 test rows.")


def test_no_headline_about_all_methods_is_stronger_than_the_sentences_about_each() -> None:
    errors = {"none": NONE, "l1": shifted(0.005, 0.006, 0.005, 0.006, 0.005), "noise": WORSE}
    said = make_analysis(errors, **EXACT).verdict
    assert said.headline == "Every method raises the test error on these 200 test rows"
    errors["l1"] = WORSE
    assert make_analysis(errors, **EXACT).verdict.headline == "Every method raises the test error"


def test_the_verdict_does_not_claim_that_unfinished_methods_raise_the_error() -> None:
    errors = {"none": NONE, "l1": WORSE, "noise": WORSE, "max-norm": [None] * 5}
    said = make_analysis(errors).verdict
    assert said.headline == "Every method that finished raises the test error"


def test_no_rounding_hides_what_an_interval_excludes() -> None:
    shifts = (4e-5, 4.5e-5, 4e-5, 3.5e-5, 4e-5)
    errors = {"none": NONE, "l1": shifted(*(-shift for shift in shifts))}
    said = make_analysis(errors, task="other", measure=ERROR, **EXACT).verdict
    assert said.headline.startswith(
        "l1 lowers the test error by 0.004 points [0.004, 0.004] against"
    )
