"""What more seeds would take, from the times of those that are done."""

from dataclasses import replace

import pytest

from dropkit.study.analysis import analyze
from dropkit.study.analysis.cost import estimate_seconds
from helpers.fabricated import make_record

ERRORS = {"none": [0.20, 0.22, 0.21, 0.23, 0.20], "l1": [0.18, 0.23, 0.17, 0.24, 0.19]}


def test_seconds_are_those_of_every_method_side_by_side() -> None:
    record = make_record(ERRORS, seconds=3.0)
    # Five seeds more, of two trainings of three seconds.
    assert estimate_seconds(record, 10) == pytest.approx(30)
    together = replace(record, timing={"jobs": "4 on 2 nodes of a Ray cluster"})
    assert estimate_seconds(together, 10) == pytest.approx(30 / 4)
    assert estimate_seconds(record, 5) is None


def test_an_open_difference_says_how_many_seeds_and_minutes_would_show_it() -> None:
    said = analyze(make_record(ERRORS, seconds=60.0, task="other")).verdict.details
    (line,) = (line for line in said if line.startswith("If the true difference of l1 is as large"))
    # d = −0.01, s = 0.0212, its upper bound 1.558·s = 0.0331: (1.96 + 0.84)²·(0.0331/0.01)² = 86,
    # and some more for Student's t. So many seeds of two trainings of a minute take 2.8 hours.
    assert 86 <= int(line.split(" seeds")[0].split()[-1]) <= 90
    assert line.endswith(
        "seeds would find it with 80 % probability. The additional seeds take about 3 h."
    )


def test_a_significant_difference_needs_no_more() -> None:
    clear = {"none": ERRORS["none"], "l1": [error - 0.1 for error in ERRORS["l1"]]}
    details = analyze(make_record(clear, task="other")).verdict.details
    assert not any(line.startswith("If ") for line in details)
