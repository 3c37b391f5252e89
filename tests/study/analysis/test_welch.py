"""Runs without pairs against scipy, and how often they claim a difference that is not there."""

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.welch import welch_test


@pytest.mark.parametrize("n", [2, 3, 10])
def test_equal_sizes_are_welchs(n: int) -> None:
    rng = np.random.default_rng(n)
    ours, base = rng.normal(size=n), 3 * rng.normal(size=n)
    found, expected = welch_test(ours, base), stats.ttest_ind(ours, base, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))


def test_few_runs_beside_many_claim_no_more_than_they_may() -> None:
    rng, rounds = np.random.default_rng(0), 2000
    claims = sum((welch_test(rng.normal(size=2), rng.normal(size=10)).p or 1) < 0.05
                 for _ in range(rounds))  # fmt: skip
    assert claims / rounds < 0.05  # of Welch's own degrees of freedom it is 0.10


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5]])
def test_no_spread_no_p(values: list[float]) -> None:
    found = welch_test(values, [0.1, 0.2])
    assert (found.p, found.difference.low) == (None, None)
    assert found.difference.mean == pytest.approx(0.35)
