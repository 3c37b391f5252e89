"""Summaries of made-up results whose numbers can be worked by hand."""

import math

import numpy as np
import pytest

from dropkit.study.analysis.summary import Target, summarize, to_frame
from helpers.fabricated import make_results, make_run


def test_errors_differences_and_gap() -> None:
    results = make_results({"none": [0.10, 0.12, 0.14], "l1": [0.08, 0.12, 0.10]}, train_error=0.02)
    none, l1 = summarize(results)
    assert none.difference is None
    assert none.p_holm is None
    assert none.error is not None
    assert none.error.mean == pytest.approx(0.12)
    assert l1.difference is not None
    assert l1.difference.mean == pytest.approx(-0.02)  # -0.02, 0, -0.04
    # s = 0.02, se = 0.02/sqrt(3), t(2) = 4.303.
    assert l1.difference.low == pytest.approx(-0.02 - 4.303 * 0.02 / math.sqrt(3), abs=1e-5)
    assert l1.gap is not None
    assert l1.gap.mean == pytest.approx(0.08)
    assert l1.p == l1.p_holm


def test_holm_counts_the_methods_that_were_compared() -> None:
    errors = {"none": [0.1, 0.12, 0.15], "l1": [0.05, 0.08, 0.09], "noise": [0.11, 0.12, 0.17]}
    _, l1, noise = summarize(make_results(errors))
    assert l1.p is not None
    assert noise.p is not None
    assert l1.p < noise.p
    assert l1.p_holm == pytest.approx(2 * l1.p)


def test_a_diverged_run_is_counted_and_its_pair_left_out() -> None:
    results = make_results({"none": [0.1, 0.2, None], "l1": [0.05, None, 0.05]})
    none, l1 = summarize(results)
    assert (none.diverged, l1.diverged, l1.runs) == (1, 1, 3)
    assert l1.difference is not None
    assert l1.difference.n == 1
    assert l1.error is not None
    assert l1.error.n == 2


def test_everything_diverged() -> None:
    _, l1 = summarize(make_results({"none": [0.1, 0.2], "l1": [None, None]}))
    assert l1.error is l1.difference is l1.gap is l1.p is l1.time_ratio is l1.seconds is None
    assert l1.diverged == 2


def test_times_are_ratios_of_pairs_that_finished() -> None:
    runs = [
        make_run("l1", 0, 0.1, seconds=4.0),
        make_run("l1", 1, 0.1, seconds=6.0),
        make_run("l1", 2, None, seconds=0.1),
    ]
    _, l1 = summarize(make_results({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs))
    assert l1.time_ratio == pytest.approx(2.5)  # the median of 4/2 and 6/2


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([(0.4, 0.3), (0.9, 0.4), (0.9, 0.3)], Target(20, 3, 3)),
        ([(0.4, 0.3), (0.9, 0.9), (0.9, 0.4)], Target(20, 2, 3)),
        ([(0.4, 0.3), (0.9, 0.9), (0.9, 0.9)], Target(None, 1, 3)),
        ([(0.9, 0.9), (None, None), (0.9, 0.9)], Target(None, 0, 3)),
    ],
)
def test_steps_to_the_baselines_best(curves: list[tuple[float, ...]], expected: Target) -> None:
    # The baseline's best validation loss is 0.4; a seed that never gets there is infinitely late.
    runs = [make_run("l1", seed, 0.1, val_loss=curve) for seed, curve in enumerate(curves)]
    _, l1 = summarize(make_results({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs))
    assert l1.target == expected


def test_a_diverged_baseline_sets_no_target() -> None:
    # Its loss before it diverged would be an easy mark.
    easy = make_run("none", 1, None, val_loss=(5.0, None))
    _, l1 = summarize(make_results({"none": [0.1, None], "l1": [0.1, 0.1]}, runs=[easy]))
    assert l1.target is not None
    assert (l1.target.reached, l1.target.of) == (1, 1)


def test_a_run_that_diverged_never_gets_there() -> None:
    late = make_run("l1", 1, None, val_loss=(0.1, None))
    _, l1 = summarize(make_results({"none": [0.1, 0.1], "l1": [0.1, None]}, runs=[late]))
    assert l1.target == Target(None, 1, 2)


def test_the_baseline_diverged_everywhere() -> None:
    _, l1 = summarize(make_results({"none": [None, None], "l1": [0.1, 0.2]}))
    assert l1.difference is l1.p_holm is l1.target is l1.time_ratio is None
    assert l1.error is not None
    assert l1.error.mean == pytest.approx(0.15)


def test_no_ratio_to_a_time_of_zero() -> None:
    runs = [make_run("none", seed, 0.1, seconds=0.0) for seed in range(2)]
    _, l1 = summarize(make_results({"none": [0.1, 0.1], "l1": [0.1, 0.1]}, runs=runs))
    assert l1.time_ratio is l1.step_ratio is None


def test_regression_has_no_calibration() -> None:
    results = make_results({"none": [3.0, 4.0], "l1": [2.0, 2.5]}, task="regression")
    assert all(summary.calibration is None for summary in summarize(results))
    none, _ = summarize(make_results({"none": [0.1, 0.2], "l1": [0.1, 0.1]}))
    assert none.calibration is not None
    assert none.calibration.mean == 0.05


def test_regression_counts_rows_by_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    from dropkit.study.record.results import pack_rows

    runs = []
    for method, scale in (("none", 2.0), ("l1", 1.0)):
        for seed in range(3):
            squared = (scale * rng.normal(size=200)) ** 2
            run = make_run(method, seed, math.sqrt(squared.mean()), task="regression")
            object.__setattr__(run, "row_errors", pack_rows(squared, "regression"))
            runs.append(run)
    results = make_results({"none": [1.0] * 3, "l1": [1.0] * 3}, task="regression", runs=runs)
    _, l1 = summarize(results)
    assert l1.new_rows is not None
    assert l1.difference is not None
    assert l1.new_rows.mean == pytest.approx(l1.difference.mean, abs=1e-6)


def test_the_table_has_a_row_per_method() -> None:
    frame = to_frame(make_results({"none": [0.1, 0.2], "l1": [0.1, 0.1]}))
    assert list(frame.index) == ["none", "l1"]
    assert frame.loc["l1", "difference"] == pytest.approx(-0.05)
    assert frame.loc["none", "error"] == pytest.approx(0.15)
