"""Statistics against cases worked by hand, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.stats import Estimate, crossed_interval, holm, paired_test, t_interval

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


def test_crossed_interval_by_hand() -> None:
    # Seed means 2, 4; row means 2, 3, 4. s² = 2 and 1; se² = 2/2 + 1/3 = 4/3.
    # Satterthwaite: (4/3)² / (1²/1 + (1/3)²/2) = (16/9) / (19/18) = 32/19.
    estimate = crossed_interval(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]))
    assert estimate.mean == 3
    assert estimate.low is not None
    half = 3 - estimate.low
    assert math.sqrt(4 / 3) * T[2] < half < math.sqrt(4 / 3) * T[1]  # 32/19 lies between 1 and 2


def test_crossed_interval_is_wider_than_over_seeds_alone() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(5, 1)) * 0.1 + rng.normal(size=(1, 50))
    over_seeds, crossed = t_interval(differences.mean(1)), crossed_interval(differences)
    assert crossed.low is not None
    assert over_seeds.low is not None
    assert crossed.low < over_seeds.low


def test_crossed_interval_of_one_seed_or_no_spread() -> None:
    assert crossed_interval(np.ones((1, 5))).low is None
    assert crossed_interval(np.ones((3, 5))).low is None


def covered(kind: str, rounds: int) -> float:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(rounds):
        if kind == "seeds":
            estimate = t_interval(rng.normal(size=5))
        else:
            noise = 0.3 * rng.normal(size=(5, 40))
            estimate = crossed_interval(
                0.2 * rng.normal(size=(5, 1)) + rng.normal(size=(1, 40)) + noise
            )
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 0 <= estimate.high
    return hits / rounds


def test_intervals_cover_what_they_claim() -> None:
    rounds = 2000
    error = math.sqrt(0.95 * 0.05 / rounds)
    assert abs(covered("seeds", rounds) - 0.95) < 4 * error
    # The crossed interval counts the interaction twice, so it may only be too wide.
    assert covered("crossed", rounds) > 0.95 - 4 * error


@pytest.mark.parametrize(("seeds", "rows"), [(2, 0.0), (2, 0.3), (2, 1.0), (3, 0.3), (3, 0.7)])
def test_crossed_intervals_of_few_seeds_cover_what_they_claim(seeds: int, rows: float) -> None:
    rng = np.random.default_rng(2)
    rounds, hits = 4000, 0
    for _ in range(rounds):
        # Rows make up that much of the variance of the mean, beside seeds.
        by_row = rng.normal(size=(1, 30)) * math.sqrt(30 * rows)
        differences = rng.normal(size=(seeds, 1)) * math.sqrt(seeds) + by_row
        estimate = crossed_interval(differences)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= 0 <= estimate.high
        alone = t_interval(differences.mean(1))
        assert estimate.half >= (1 - 1e-9) * alone.half
    assert hits / rounds > 0.95 - 4 * math.sqrt(0.95 * 0.05 / rounds)


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


def test_fractional_degrees_of_freedom_as_scipy_has_them() -> None:
    differences = np.random.default_rng(0).normal(size=(4, 1)) + np.ones((1, 50))
    differences += 3 * np.random.default_rng(1).normal(size=(1, 50))
    parts = [m.var(ddof=1) / len(m) for m in (differences.mean(1), differences.mean(0))]
    df = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 49)
    assert df % 1
    half = stats.t.ppf(0.975, df) * math.sqrt(sum(parts))
    assert crossed_interval(differences).half == pytest.approx(half, rel=1e-12)
