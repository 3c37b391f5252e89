"""The one rule of all claims, against cases worked by hand, scipy and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis.effect import Effect, measure_effect
from dropkit.study.analysis.family import are_different, claim_all
from dropkit.study.analysis.looks import anytime_critical

# Student's t at 97.5 %, from a printed table.
T = {1: 12.706, 2: 4.303, 4: 2.776}


def one(effect: Effect, **settings):  # type: ignore[no-untyped-def]
    (claim,) = claim_all([effect], **settings)
    return claim


def test_an_effect_by_hand() -> None:
    # Seed means 2, 4; row means 2, 3, 4: s² = 2 and 1.
    effect = measure_effect([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    assert (effect.mean, effect.seeds, effect.rows) == (3, 2, 3)
    assert (effect.seed_variance, effect.row_variance) == pytest.approx((2.0, 1 / 3))
    # se² = 2/2 + 1/3 = 4/3; Satterthwaite: (4/3)² / (1²/1 + (1/3)²/2) = 32/19, between 1 and 2.
    # The p over the two seeds alone is larger: t = 3/1 with one degree of freedom.
    assert one(effect).p == pytest.approx(2 * stats.t.sf(3, 1))
    assert one(effect).estimate.half == pytest.approx(T[1], abs=1e-3)


def test_rows_add_to_the_spread_with_fractional_degrees_of_freedom() -> None:
    effect = Effect(1.0, 4, 0.4, 0.2, 50)
    variance = 0.4 / 4 + 0.2
    df = variance**2 / (0.1**2 / 3 + 0.2**2 / 49)
    claim = one(effect)
    assert claim.p == pytest.approx(2 * stats.t.sf(1 / math.sqrt(variance), df))
    assert claim.estimate.half == pytest.approx(stats.t.ppf(0.975, df) * math.sqrt(variance))
    assert one(effect, new_rows=False).p == pytest.approx(2 * stats.t.sf(1 / math.sqrt(0.1), 3))


def test_spreads_are_moderated_by_those_of_the_other_methods() -> None:
    effects = [Effect(1.0, 5, v) for v in (1.0, 3.0, 5.0)]
    first, *_ = claim_all(effects, new_rows=False)
    # d0 = 4 · 2/4 = 2; s² = (2 · 4 + 4 · 1)/6 = 2 on 6 degrees of freedom.
    assert first.p == pytest.approx(2 * stats.t.sf(1 / math.sqrt(2 / 5), 6))
    half = stats.t.ppf(1 - 0.05 / 6, 6) * math.sqrt(2 / 5)
    assert first.estimate.half == pytest.approx(half)


def test_no_variance_is_moderated_below_its_own_and_none_of_two_seeds() -> None:
    *_, last = claim_all([Effect(1.0, 5, v) for v in (1.0, 3.0, 5.0)], new_rows=False)
    assert last.p == pytest.approx(2 * stats.t.sf(1.0, 6))  # 5/5, and not 4/5
    first, _ = claim_all([Effect(1.0, 2, v) for v in (1.0, 3.0)], new_rows=False)
    assert first.p == pytest.approx(2 * stats.t.sf(math.sqrt(2), 1))


def test_methods_of_earlier_studies_count() -> None:
    effect = Effect(1.0, 5, 1.0)
    alone, of_four = (one(effect, family=k, new_rows=False) for k in (1, 4))
    assert alone.p == of_four.p
    assert of_four.p_holm == pytest.approx(4 * alone.p)
    assert of_four.estimate.half > alone.estimate.half


def test_looking_again_takes_more_evidence() -> None:
    effect = Effect(1.5, 10, 1.0)
    once, again = (one(effect, looks=looks, new_rows=False) for looks in ((10,), (9, 10)))
    assert again.p > once.p
    half = anytime_critical(10, 0.01) / math.sqrt(10)
    assert again.estimate.half == pytest.approx(half)
    assert again.is_significant == again.estimate.excludes_zero
    planned = one(effect, looks=(5, 10), planned=(5, 10, 20), new_rows=False)
    assert planned.p == pytest.approx(once.p * 0.05 / 0.012)
    assert once.estimate.half < planned.estimate.half < again.estimate.half
    few = one(Effect(9.0, 3, 1.0), looks=(2, 3), new_rows=False)
    assert few.estimate.low is None
    assert not few.is_significant


@pytest.mark.parametrize(
    "effect",
    [measure_effect([1.0]), measure_effect([1.0, 1.0, 1.0]), measure_effect(np.ones((3, 5)))],
)
def test_nothing_is_claimed_without_a_spread(effect: Effect) -> None:
    for new_rows in (True, False):
        claim = one(effect, new_rows=new_rows)
        assert claim.p is claim.p_holm is claim.estimate.low is None
    assert not are_different(effect, 2)


def test_nothing_is_claimed_of_new_rows_without_rows() -> None:
    effect = measure_effect([1.0, 1.1, 1.2])
    assert one(effect).p is None
    assert one(effect, new_rows=False).is_significant


def test_two_of_many_differ_only_if_all_pairs_count() -> None:
    effect = Effect(1.0, 5, 0.5)  # p = 0.034
    assert are_different(effect, 2, new_rows=False)
    assert not are_different(effect, 3, new_rows=False)


@pytest.mark.parametrize(("seeds", "rows"), [(2, 0.0), (2, 0.3), (2, 1.0), (3, 0.3), (5, 0.7)])
def test_claims_of_few_seeds_are_rarely_false(seeds: int, rows: float) -> None:
    rng = np.random.default_rng(2)
    rounds, false = 2000, 0
    for _ in range(rounds):
        # Rows make up that much of the variance of the mean, beside seeds.
        by_row = rng.normal(size=(1, 30)) * math.sqrt(30 * rows)
        effect = measure_effect(rng.normal(size=(seeds, 1)) * math.sqrt(seeds) + by_row)
        claim = one(effect)
        assert claim.estimate.low is not None
        assert claim.is_significant == claim.estimate.excludes_zero
        false += claim.is_significant
    assert false / rounds < 0.05 + 4 * math.sqrt(0.95 * 0.05 / rounds)
