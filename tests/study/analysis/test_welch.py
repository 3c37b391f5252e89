"""Runs without pairs against scipy, and how often they claim a difference that is not there."""

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.family import Claim, claim_all
from dropkit.study.analysis.stats import Values
from dropkit.study.analysis.welch import measure_unpaired


def claim_difference(values: Values, base: Values) -> Claim:
    (claim,) = claim_all([measure_unpaired(values, base)], new_rows=False)
    return claim


@pytest.mark.parametrize("n", [2, 3, 10])
def test_equal_sizes_are_welchs(n: int) -> None:
    rng = np.random.default_rng(n)
    ours, base = rng.normal(size=n), 3 * rng.normal(size=n)
    found, expected = claim_difference(ours, base), stats.ttest_ind(ours, base, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(interval))


def test_variances_are_not_moderated() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=5) * scale for scale in (1, 2, 3)]
    effects = [measure_unpaired(sample, samples[0] + 1) for sample in samples[1:]]
    alone = [claim_all([effect], new_rows=False)[0].p for effect in effects]
    assert [claim.p for claim in claim_all(effects, new_rows=False)] == alone


def test_few_runs_beside_many_claim_no_more_than_they_may() -> None:
    rng, rounds = np.random.default_rng(0), 2000
    claims = sum((claim_difference(rng.normal(size=2), rng.normal(size=10)).p or 1) < 0.05
                 for _ in range(rounds))  # fmt: skip
    assert claims / rounds < 0.05  # of Welch's own degrees of freedom it is 0.10


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5]])
def test_no_spread_no_p(values: list[float]) -> None:
    found = claim_difference(values, [0.1, 0.2])
    assert (found.p, found.estimate.low) == (None, None)
    assert found.estimate.mean == pytest.approx(0.35)
