"""Tests by ranks against scipy's, which are slow to import, and against printed tables."""

import math

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.ranks import (
    critical_difference,
    friedman_test,
    least_p,
    median_interval,
    rank,
    signed_rank_test,
)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 20, 40])
def test_signed_ranks_as_scipy_has_them(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, size=n)
    assert signed_rank_test(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_signed_ranks_are_exact_with_ties_and_zeros() -> None:
    # Ranks of −1, 0, 1, 2, 2, 3 are 2.5, 1, 2.5, 4.5, 4.5, 6; the zero's is left out. A sum of
    # at most 2.5 on one side: none, or one of the two 2.5, of 2⁵ signs.
    assert signed_rank_test([-1, 0, 1, 2, 2, 3]) == pytest.approx(2 * 3 / 32)
    assert signed_rank_test([0.0, 0.0]) is None


def test_many_signed_ranks_are_nearly_normal() -> None:
    differences = np.random.default_rng(0).normal(0.1, 1, size=200)
    assert signed_rank_test(differences) == pytest.approx(
        stats.wilcoxon(differences).pvalue, rel=0.02
    )


def test_the_least_p_is_that_of_one_sign() -> None:
    assert [signed_rank_test(np.arange(1, n + 1)) for n in (3, 6)] == [least_p(3), least_p(6)]


@pytest.mark.parametrize("rounded", [False, True])
def test_friedman_as_scipy_has_it(rounded: bool) -> None:
    values = np.random.default_rng(0).normal(size=(10, 4))
    values = np.round(values) if rounded else values
    found = friedman_test(np.array([rank(row) for row in values]))
    statistic = stats.friedmanchisquare(*values.T).statistic
    assert found.statistic == pytest.approx(statistic)
    f = 9 * statistic / (10 * 3 - statistic)
    assert found.p == pytest.approx(stats.f.sf(f, 3, 27))


def test_friedman_of_no_and_of_full_agreement() -> None:
    assert friedman_test(np.full((4, 3), 2.0)).p == 1.0
    assert friedman_test(np.tile([1.0, 2.0, 3.0], (5, 1))).p == pytest.approx(6.0**-4)


# Demšar (2006), table 5(a): q at 0.05 for 2, 3, 5 and 10 methods.
@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_critical_differences_as_printed(methods: int, q: float) -> None:
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 30))
    assert critical_difference(methods, 30) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n", [6, 7, 12, 30])
def test_a_median_interval_excludes_zero_where_the_test_rejects(n: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.5, 1.0):
        differences = rng.normal(shift, 1, size=n)
        middle, low, high = median_interval(differences)
        assert low is not None
        assert high is not None
        assert low <= middle <= high
        p = signed_rank_test(differences)
        assert p is not None
        assert (low > 0 or high < 0) == (p <= 0.05)


def test_five_differences_have_no_interval() -> None:
    assert median_interval([1, 2, 3, 4, 5]) == (3.0, None, None)
