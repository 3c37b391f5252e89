"""The verdict's words: each branch, and never a claim stronger than its interval."""

import pytest
from fabricated import make_results, make_run

from dropkit.study.verdict import verdict

NONE = [0.20, 0.21, 0.22, 0.20, 0.23]


def shifted(*shifts: float) -> list[float]:
    return [error + shift for error, shift in zip(NONE, shifts, strict=True)]


BETTER = shifted(-0.10, -0.11, -0.10, -0.09, -0.10)
ALIKE = shifted(0.01, -0.01, 0.02, -0.02, 0.005)
WORSE = shifted(0.10, 0.11, 0.10, 0.09, 0.10)


def test_a_better_method_with_its_interval() -> None:
    said = verdict(make_results({"none": NONE, "l1": BETTER, "noise": ALIKE}))
    assert said.headline == "l1 lowers test error by 10.00 points [9.12, 10.88] against none"


def test_the_same_difference_on_few_rows_is_not_settled_for_new_ones() -> None:
    # 200 test rows: half a point is one row, and the same one for every seed.
    close = shifted(-0.005, -0.006, -0.005, -0.006, -0.005)
    said = verdict(make_results({"none": NONE, "l1": close}))
    assert said.headline.startswith("l1 lowers test error by 0.54 points [")
    assert "200 test rows" in said.details[0]
    assert "not settled" in said.details[0]


def test_no_difference_is_an_answer() -> None:
    said = verdict(make_results({"none": NONE, "l1": ALIKE}))
    assert said.headline == "no method differs detectably from none over 5 seeds: more seeds needed"
    assert said.details[0].startswith("The largest difference seen: l1 raises test error by 0.10")


def test_worse_methods() -> None:
    said = verdict(make_results({"none": NONE, "l1": WORSE}))
    assert said.headline == "every method raises test error against none"
    assert "l1 raises test error by 10.00 points [9.12, 10.88]." in said.details
    said = verdict(make_results({"none": NONE, "l1": WORSE, "noise": ALIKE}))
    assert said.headline == "no method lowers test error detectably against none"


def test_a_correction_for_many_methods_can_undo_a_find() -> None:
    close = shifted(-0.01, -0.03, -0.02, -0.04, -0.02)  # p = 0.009 by itself
    assert "lowers" in verdict(make_results({"none": NONE, "l1": close})).headline
    many = {f"noise(std={i})": ALIKE for i in range(1, 8)}
    said = verdict(make_results({"none": NONE, "l1": close, **many}))
    assert said.headline.startswith("no method differs detectably")


def test_methods_not_told_apart_from_the_best() -> None:
    near = [
        error + step for error, step in zip(BETTER, (0.01, -0.01, 0.01, 0.0, 0.005), strict=True)
    ]
    second = [
        error + 0.05 + step for error, step in zip(BETTER, (0.001, 0, 0.002, 0, 0), strict=True)
    ]
    said = verdict(make_results({"none": NONE, "l1": BETTER, "noise": near, "max-norm": second}))
    assert said.headline.startswith("l1 lowers")
    assert "Not told apart from it: noise." in said.details
    assert any(line.startswith("max-norm lowers test error by") for line in said.details)


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
    said = verdict(make_results({"none": NONE, "l1": ALIKE}, runs=runs))
    assert ("Regularizing is not the remedy" in " ".join(said.details)) == fits
    assert ("does not overfit" in said.headline) == fits


def test_a_rising_validation_loss_is_overfitting_whatever_the_scored_weights() -> None:
    losses = (1.0, 0.3, 0.5, 0.7, 0.9)
    runs = [
        make_run("none", seed, NONE[seed], test_loss=0.3, train_loss=0.299, val_loss=losses)
        for seed in range(5)
    ]
    said = verdict(make_results({"none": NONE, "l1": ALIKE}, runs=runs))
    assert "does not overfit" not in said.headline
    assert any("lowest around epoch 2 of 5" in alert for alert in said.alerts)


def test_one_seed_says_so() -> None:
    said = verdict(make_results({"none": [0.2], "l1": [0.1]}))
    assert said.headline == "one seed cannot tell a difference from luck: run more seeds"
    assert any("One seed" in alert for alert in said.alerts)


def test_equal_gains_in_every_seed_claim_nothing() -> None:
    said = verdict(make_results({"none": [0.2, 0.21, 0.25], "l1": [0.19, 0.20, 0.24]}))
    assert said.headline.startswith("no method differs detectably")


def test_identical_results() -> None:
    said = verdict(make_results({"none": NONE, "l1": NONE}))
    assert "Every finished run erred exactly as none did." in said.details


def test_divergence_is_said() -> None:
    said = verdict(make_results({"none": NONE, "l1": [*BETTER[:4], None]}))
    assert said.headline.endswith("against none, but diverged in 1 of 5 runs")
    assert said.alerts[0].startswith("l1 diverged in 1 of 5 runs")


def test_nothing_to_compare() -> None:
    assert "nothing to compare it with" in verdict(make_results({"none": NONE})).headline
    said = verdict(make_results({"none": [None, None], "l1": [0.1, 0.1]}))
    assert said.headline.startswith("the baseline (none) diverged in every run")
    said = verdict(make_results({"none": [0.1, 0.1], "l1": [None, None]}))
    assert said.headline.startswith("nothing can be compared")


def test_alerts() -> None:
    falling = (1.0, 0.8, 0.6, 0.4, 0.2)
    runs = [make_run("l1", s, e, val_loss=falling, lr=0.1) for s, e in enumerate(ALIKE)]
    said = verdict(make_results({"none": NONE, "l1": ALIKE}, runs=runs, notes=("A note.",)))
    text = "\n".join(said.alerts)
    assert "one row is 0.50 points" in text
    assert "0.05 none, 0.1 l1" in text
    assert "still falling at the last epoch with l1:" in text
    assert said.alerts[-1] == "A note."


def test_regression_speaks_of_the_targets_units() -> None:
    said = verdict(
        make_results({"none": [4.0, 4.1, 4.2], "l1": [3.0, 3.05, 3.2]}, task="regression")
    )
    assert said.headline.startswith("l1 lowers test RMSE by 1.02 [")
