"""Summaries of made-up results whose numbers can be worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.summary import summarize
from dropkit.study.analysis.table import tabulate
from dropkit.study.analysis.target import Target
from dropkit.study.record import Miscalibration, pack_rows
from helpers.fabricated import make_analysis, make_record, make_run


def test_errors_differences_and_gap() -> None:
    results = make_record({"none": [0.10, 0.12, 0.14], "l1": [0.08, 0.12, 0.10]}, train_error=0.02)
    none, l1 = summarize(results)
    assert none.difference is None
    assert none.claim is None
    assert none.value is not None
    assert none.value.mean == pytest.approx(0.12)
    assert l1.difference is not None
    assert l1.difference.mean == pytest.approx(-0.02)  # -0.02, 0, -0.04
    # s = 0.02, se = 0.02/sqrt(3), t(2) = 4.303.
    assert l1.difference.low == pytest.approx(-0.02 - 4.303 * 0.02 / math.sqrt(3), abs=1e-5)
    assert l1.gap is not None
    assert l1.gap.mean == pytest.approx(0.08)
    assert l1.claim_here is not None
    assert l1.claim_here.p == l1.claim_here.p_holm


def test_holm_counts_the_methods_that_were_compared() -> None:
    errors = {"none": [0.1, 0.12, 0.15], "l1": [0.05, 0.08, 0.09], "noise": [0.11, 0.12, 0.17]}
    _, l1, noise = summarize(make_record(errors))
    for mine, other in ((l1.claim, noise.claim), (l1.claim_here, noise.claim_here)):
        assert mine is not None
        assert other is not None
        assert mine.p is not None
        assert other.p is not None
        assert mine.p < other.p
        assert mine.p_holm == pytest.approx(2 * mine.p)
    earlier = make_record(errors, compared=("none", "l1", "noise", "l2", "dropout"))
    found = summarize(earlier)[1].claim
    assert found is not None
    assert l1.claim is not None
    assert l1.claim.p is not None
    assert found.p_holm == pytest.approx(4 * l1.claim.p)


def test_a_diverged_run_is_counted_and_its_pair_left_out() -> None:
    results = make_record({"none": [0.1, 0.2, None], "l1": [0.05, None, 0.05]})
    none, l1 = summarize(results)
    assert (none.diverged, l1.diverged, l1.runs) == (1, 1, 3)
    assert l1.difference is not None
    assert l1.difference.n == 1
    assert l1.value is not None
    assert l1.value.n == 2


def test_everything_diverged() -> None:
    _, l1 = summarize(make_record({"none": [0.1, 0.2], "l1": [None, None]}))
    assert l1.value is l1.difference is l1.gap is l1.claim is l1.time_ratio is l1.seconds is None
    assert l1.diverged == 2


def test_times_are_ratios_of_pairs_that_finished() -> None:
    runs = [
        make_run("l1", 0, 0.1, seconds=4.0),
        make_run("l1", 1, 0.1, seconds=6.0),
        make_run("l1", 2, None, seconds=0.1),
    ]
    _, l1 = summarize(make_record({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs))
    assert l1.time_ratio == pytest.approx(2.5)  # the median of 4/2 and 6/2
    # 50 steps each: mean 2.5, s = 0.5 * sqrt(2), se = 0.5, t(1) = 12.706.
    assert l1.step_ratio is not None
    assert l1.step_ratio.mean == pytest.approx(2.5)
    assert l1.step_ratio.high == pytest.approx(2.5 + 12.706 * 0.5, abs=1e-3)


def test_the_baseline_diverged_everywhere() -> None:
    _, l1 = summarize(make_record({"none": [None, None], "l1": [0.1, 0.2]}))
    assert l1.difference is l1.claim is l1.step_ratio is l1.time_ratio is None
    assert l1.target == Target(0, 0, 0, None, None)
    assert l1.value is not None
    assert l1.value.mean == pytest.approx(0.15)


def test_no_ratio_to_a_time_of_zero() -> None:
    runs = [make_run("none", seed, 0.1, seconds=0.0) for seed in range(2)]
    _, l1 = summarize(make_record({"none": [0.1, 0.1], "l1": [0.1, 0.1]}, runs=runs))
    assert l1.time_ratio is l1.step_ratio is None


def test_regression_has_no_calibration() -> None:
    results = make_record({"none": [3.0, 4.0], "l1": [2.0, 2.5]}, task="regression")
    assert all(summary.calibration is None for summary in summarize(results))
    none, _ = summarize(make_record({"none": [0.1, 0.2], "l1": [0.1, 0.1]}))
    assert none.calibration is not None
    assert none.calibration.mean == pytest.approx(0.05)
    assert none.calibration_by_chance == pytest.approx(0.03)


def test_the_calibration_error_is_the_root_of_the_mean_and_of_its_ends() -> None:
    runs = [make_run("none", seed, 0.1) for seed in range(3)]
    for run, squared in zip(runs, (-0.0001, 0.0005, 0.0008), strict=True):
        assert run.test is not None
        test = replace(run.test, miscalibration=Miscalibration(squared, 0.0009))
        object.__setattr__(run, "test", test)
    (none,) = summarize(make_record({"none": [0.1] * 3}, runs=runs))
    assert none.calibration is not None
    assert none.calibration.mean == pytest.approx(0.02)
    assert none.calibration.low == 0.0  # 0.0004 ± 0.0011 reaches below 0
    half = 4.303 * np.std((-0.0001, 0.0005, 0.0008), ddof=1) / math.sqrt(3)
    assert none.calibration.high == pytest.approx(math.sqrt(0.0004 + half), rel=1e-3)
    assert none.calibration_by_chance == pytest.approx(0.03)


def test_regression_counts_rows_by_the_delta_method() -> None:
    rng = np.random.default_rng(0)

    runs = []
    for method, scale in (("none", 2.0), ("l1", 1.0)):
        for seed in range(3):
            squared = (scale * rng.normal(size=200)) ** 2
            run = make_run(method, seed, math.sqrt(squared.mean()), task="regression")
            object.__setattr__(run, "row_errors", pack_rows(squared, "regression"))
            runs.append(run)
    results = make_record({"none": [1.0] * 3, "l1": [1.0] * 3}, task="regression", runs=runs)
    _, l1 = summarize(results)
    assert l1.effect is not None
    assert l1.effect.rows == 200
    # Normal errors of deviation 2 and 1: the terms (e/r + r)/2 have deviations r/√2 each.
    assert l1.effect.row_variance == pytest.approx((4 / 2 + 1 / 2) / 3 / 200, rel=0.3)
    only = make_record({"none": [1.0] * 3, "l1": [1.0] * 3}, task="other")
    assert summarize(only)[1].effect == Effect(0.0, 3, None)


def test_the_table_has_a_row_per_method() -> None:
    frame = tabulate(make_analysis({"none": [0.1, 0.2], "l1": [0.1, 0.1]}))
    assert list(frame.index) == ["none", "l1"]
    assert frame.loc["l1", "difference"] == pytest.approx(-0.05)
    assert frame.loc["none", "error"] == pytest.approx(0.15)
    assert list(frame.columns) == [
        *("runs", "diverged", "error", "error_low", "error_high"),
        *("difference", "difference_low", "difference_high"),
        *("claim", "claim_low", "claim_high", "p", "p_holm", "gap", "gap_low", "gap_high"),
        *("loss", "loss_low", "loss_high", "calibration", "calibration_low", "calibration_high"),
        *("calibration_by_chance", "reached_target", "baseline_reached_target"),
        *("updates_to_target", "updates_to_target_low", "updates_to_target_high"),
        *("time_to_target", "time_to_target_low", "time_to_target_high"),
        *("step_ratio", "step_ratio_low", "step_ratio_high", "time_ratio", "seconds"),
    ]
    assert frame.loc["l1", "updates_to_target"] == 1
    assert frame.loc["l1", "reached_target"] == 2
