"""What must hold before methods are compared, and what the headline says if it does not."""

from dataclasses import replace

from dropkit.study.analysis import analyze
from dropkit.study.analysis.verdict import Verdict
from dropkit.study.reading import ColumnReading
from dropkit.study.record import Measure
from helpers.fabricated import make_analysis, make_record

NONE = [0.50, 0.49, 0.50, 0.51, 0.50]
LEARNED = [0.010, 0.020, 0.010, 0.015, 0.020]


def reach_verdict(*args: object, **settings: object) -> Verdict:
    return make_analysis(*args, **settings).verdict


def test_nothing_beats_the_majority_class() -> None:
    said = reach_verdict(
        {"none": [0.04] * 5, "l1": [0.036, 0.035, 0.035, 0.036, 0.035]},
        constant_value=0.035,
        train_error=0.035,
    )
    assert said.headline == (
        "No method beats a constant prediction: the test error of always predicting the majority "
        "class is 3.50 %"
    )
    assert said.details[0].startswith("The classes are imbalanced: 96.50 % of the test rows")
    assert said.step.command == "dropkit compare made-up --metric auc"


def test_a_metric_that_is_no_share_of_rows_says_nothing_of_the_classes() -> None:
    f1 = Measure("f1-macro", "test macro F1", percent=True, higher_is_better=True)
    said = reach_verdict({"none": [0.004] * 5, "l1": [0.004] * 5}, measure=f1, constant_value=0.005)
    assert said.headline.startswith("No method beats a constant prediction")
    assert not any("imbalanced" in line for line in said.details)


def test_nothing_beats_the_majority_of_labels() -> None:
    errors = {"none": [0.04] * 5, "l1": [0.036] * 5}
    said = reach_verdict(errors, task="multi-label", constant_value=0.035)
    assert said.headline == (
        "No method beats a constant prediction: the test label error of always predicting each "
        "label's most frequent value is 3.50 %"
    )
    assert said.details[0].startswith("The labels are imbalanced: always predicting each")


def test_nothing_beats_the_means() -> None:
    errors = {"none": [1.1, 1.2], "l1": [1.1, 1.1]}
    said = reach_verdict(errors, task="multi-output", constant_value=1.0)
    assert said.headline == (
        "No method beats a constant prediction: the test standardized RMSE of always predicting "
        "each target's mean is 1.00"
    )


def test_nothing_beats_the_mean() -> None:
    errors = {"none": [985.0, 986.0, 987.0], "weight-decay": [984.94, 985.94, 986.94]}
    said = reach_verdict(errors, task="regression", constant_value=980.0, train_error=900.0)
    assert said.headline == (
        "No method beats a constant prediction: the test RMSE of always predicting the mean target "
        "is 980"
    )


def test_what_holds_for_training_rows_alone() -> None:
    said = reach_verdict({"none": NONE, "l1": NONE}, constant_value=0.4, train_error=0.1)
    assert said.details == (
        "The networks fit the training rows but do not generalize to other rows.",
    )
    assert said.step.command == ""


def test_columns_are_advised_only_for_a_table() -> None:
    errors, how = {"none": NONE, "l1": NONE}, {"constant_value": 0.4, "train_error": 0.1}
    record = make_record(errors, **how)
    assert analyze(record).verdict.step.text.startswith("Use inputs that say more")
    table = replace(
        record, data=replace(record.data, columns=(ColumnReading(name="a", kind="number"),))
    )
    assert analyze(table).verdict.step.text.startswith("Add columns that say more")


def test_a_baseline_that_has_not_learned_while_another_has() -> None:
    errors = {"none": [0.5] * 5, "l1": [0.5] * 5, "dropout": LEARNED}
    said = reach_verdict(errors, constant_value=0.5, train_error=0.5)
    assert said.headline == (
        "The baseline has not learned, but dropout has: train longer or raise the learning "
        "rate to compare them"
    )
    assert said.details == (
        "The test error is 50.00 % for the baseline, 50.00 % for always predicting the majority "
        "class, and 1.50 % for dropout.",
    )
    assert said.step.command == "dropkit compare made-up --epochs 20"


def test_a_baseline_that_learned_too_much_can_be_compared() -> None:
    errors = {"none": [0.5] * 5, "dropout": LEARNED}
    said = reach_verdict(errors, constant_value=0.5, train_error=0.0)
    assert said.headline.startswith("dropout lowers the test error by 48.50 points")


def test_doubts_about_the_data_come_before_all_else() -> None:
    doubts = ("Column 'price' was read as text: is it a number?", "And another.")
    said = reach_verdict({"none": NONE, "dropout": LEARNED}, constant_value=0.4, doubts=doubts)
    assert (said.headline, *said.details) == doubts
    assert said.step.text.startswith("Look at how the data are read. Correct the reading or")
    assert said.step.command == "dropkit inspect made-up"


def test_without_a_constant_answer_nothing_is_held_against_it() -> None:
    assert reach_verdict({"none": NONE, "l1": LEARNED}).headline.startswith("l1 lowers")
