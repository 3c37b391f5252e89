"""Statistics against cases worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.stats import Estimate, holm, paired_test, t_interval

# Student's t at 97.5 %, from a printed table.
T = {1: 12.706, 2: 4.303, 4: 2.776}


def test_t_interval_by_hand() -> None:
    # 2, 4, 6, 8, 10: mean 6, squared deviations 16+4+0+4+16 = 40, s = sqrt(40/4), se = s/sqrt(5).
    half = T[4] * math.sqrt(10 / 5)
    estimate = t_interval([2, 4, 6, 8, 10])
    assert estimate.mean == 6
    assert estimate.low == pytest.approx(6 - half, abs=2e-3)
    assert estimate.high == pytest.approx(6 + half, abs=2e-3)
    assert estimate.n == 5


def test_t_interval_of_two() -> None:
    # mean 2, s = sqrt(2), se = 1.
    assert t_interval([1, 3]).low == pytest.approx(2 - T[1], abs=1e-3)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5]])
def test_no_spread_no_interval(values: list[float]) -> None:
    assert t_interval(values) == Estimate(0.5, None, None, len(values))
    assert not t_interval(values).excludes_zero


def test_equal_gains_are_no_certainty() -> None:
    # Three rows of 360 in every seed, differing only in the last bits of the division.
    gains = [(a - 3) / 360 - a / 360 for a in (4, 9, 100, 200, 351)]
    assert np.ptp(gains) > 0
    assert paired_test(gains) is None
    assert t_interval(gains).low is None


def test_paired_test_by_hand() -> None:
    # 1, 2, 3: t = 2 / (1/sqrt(3)) = 3.4641 with 2 degrees of freedom, for which
    # p = 1 - t/sqrt(t² + 2) = 1 - 3.4641/sqrt(14).
    assert paired_test([1, 2, 3]) == pytest.approx(1 - math.sqrt(12) / math.sqrt(14))
    assert paired_test([4.0]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.02, 0.03]) == pytest.approx((0.03, 0.04, 0.04))
    assert holm([0.03, 0.01, 0.02]) == pytest.approx((0.04, 0.03, 0.04))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_counts_a_comparison_without_a_p() -> None:
    assert holm([0.02, None]) == (0.04, None)


@pytest.mark.parametrize("n", [2, 3, 5, 30, 1000])
def test_student_as_scipy_has_it(n: int) -> None:
    # scipy.stats takes three times as long to import, so it is not what we use.
    rng = np.random.default_rng(n)
    for scale in (1e-9, 1.0, 1e6):
        values = scale * (rng.normal(size=n) + rng.normal())
        ours, theirs = (
            t_interval(values),
            stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)),
        )
        assert (ours.low, ours.high) == pytest.approx(theirs, rel=1e-12)
        assert paired_test(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-12)
