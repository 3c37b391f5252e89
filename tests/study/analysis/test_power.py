"""Power: against scipy's non-central t and against simulated studies."""

import numpy as np
import pytest
from scipy.stats import chi2, nct, t

from dropkit.study.analysis.power import (
    compute_power,
    find_detectable,
    find_seeds,
    upper_spread,
)


@pytest.mark.parametrize("seeds", [2, 5, 20])
@pytest.mark.parametrize("difference", [0.1, 1.0, -2.0, 50.0])
def test_power_is_that_of_the_non_central_t(seeds: int, difference: float) -> None:
    critical, shift = t.ppf(0.975, seeds - 1), abs(difference) * np.sqrt(seeds)
    expected = nct.sf(critical, seeds - 1, shift) + nct.cdf(-critical, seeds - 1, shift)
    if np.isnan(expected):  # scipy's own, far out
        expected = 1.0
    assert compute_power(difference, 1.0, seeds) == pytest.approx(expected, abs=1e-6)


def test_the_detectable_difference_is_found_in_four_of_five_studies() -> None:
    effect = find_detectable(1.0, 5)
    values = np.random.default_rng(0).normal(effect, size=(20_000, 5))
    stat = values.mean(1) / (values.std(1, ddof=1) / np.sqrt(5))
    assert (2 * t.sf(np.abs(stat), 4) < 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_seeds_are_the_fewest_that_reach_the_power() -> None:
    needed = find_seeds(0.5, 1.0)
    assert needed is not None
    assert compute_power(0.5, 1.0, needed) >= 0.8 > compute_power(0.5, 1.0, needed - 1)
    assert find_detectable(1.0, needed) <= 0.5


def test_rows_limit_what_seeds_can_find() -> None:
    assert find_seeds(0.5, 1.0, row_variance=0.1) is None
    assert (find_seeds(0.5, 1.0, row_variance=0.01) or 0) > (find_seeds(0.5, 1.0) or 0)
    assert find_detectable(0.0, 5) == 0.0
    assert compute_power(0.0, 0.0, 5) == 0.0
    assert compute_power(0.1, 0.0, 5) == 1.0
    assert compute_power(1.0, 0.0, 5, row_variance=0.01) > 0.99


def test_the_upper_spread_is_above_the_true_one_in_four_of_five_studies() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 5)).std(1, ddof=1)
    bounds = np.array([upper_spread(value, 5) for value in values])
    assert (bounds > 1).mean() == pytest.approx(0.8, abs=0.01)
    assert upper_spread(2.0, 5) == pytest.approx(2 * np.sqrt(4 / chi2.ppf(0.2, 4)))
