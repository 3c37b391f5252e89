"""Looks: the e-value by its integral, its inverse, and false claims however often one looks."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from dropkit.study.analysis.looks import (
    anytime_critical,
    anytime_p,
    e_value,
    spend_level,
)


@pytest.mark.parametrize(("value", "n", "scale"), [(0.5, 5, 1.0), (3.0, 10, 1.0), (2.0, 4, 0.5)])
def test_the_e_value_is_a_likelihood_ratio(value: float, n: int, scale: float) -> None:
    # The statistic has a non-central t distribution given a standardized difference.
    mixed, _ = quad(
        lambda d: nct.pdf(value, n - 1, d * np.sqrt(n)) * norm.pdf(d, scale=scale), -12, 12
    )
    assert e_value(value, n, scale=scale) == pytest.approx(mixed / t.pdf(value, n - 1), rel=1e-6)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_critical_value_is_the_inverse(n: int) -> None:
    critical = anytime_critical(n, 0.05)
    assert np.isinf(critical) or anytime_p(critical, n) == pytest.approx(0.05)
    assert anytime_critical(n, 0.01) >= critical
    assert np.isinf(anytime_critical(2, 0.01))


def test_looking_at_every_seed_claims_falsely_in_less_than_5_per_cent() -> None:
    values = np.random.default_rng(0).normal(size=(4000, 20))
    claimed = np.zeros(len(values), bool)
    for n in range(3, 21):
        part = values[:, :n]
        stat = part.mean(1) / (part.std(1, ddof=1) / np.sqrt(n))
        claimed |= np.abs(stat) >= anytime_critical(n, 0.05)
    assert 0.01 < claimed.mean() < 0.03  # 1.8 % ± 0.2


def test_planned_looks_claim_falsely_in_at_most_5_per_cent() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 40))
    claimed = np.zeros(len(values), bool)
    for look, n in enumerate((5, 10, 20, 40)):
        part = values[:, :n]
        stat = part.mean(1) / (part.std(1, ddof=1) / np.sqrt(n))
        claimed |= 2 * t.sf(np.abs(stat), n - 1) < spend_level(look)
    assert 0.02 < claimed.mean() < 0.05
    assert sum(map(spend_level, range(50))) == pytest.approx(0.05)
