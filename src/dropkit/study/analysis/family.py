"""Test several methods with one rule that makes a false claim in at most 5 % of studies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr, stdtrit

from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.looks import anytime_critical, anytime_p, spend_level
from dropkit.study.analysis.stats import Estimate, holm

SIGNIFICANCE = 0.05
LATER = 0.2
"""The share of the significance level for all looks after the first together."""
FEWEST = 3
"""The variances of other methods are used with this number of seeds or more."""


@dataclass(frozen=True)
class Claim:
    """The test result for one of several differences.

    Attributes:
        estimate: the difference, with an interval corrected for the number of methods compared.
        p: two-sided p-value of this difference alone; ``None`` if it cannot be tested.
        p_holm: the p-value corrected for the number of methods compared.
    """

    estimate: Estimate
    p: float | None
    p_holm: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANCE


@dataclass(frozen=True)
class _Spread:
    """Pairs of a standard error and degrees of freedom; a claim must be significant for each."""

    parts: tuple[tuple[float, float], ...]
    unpooled: float  # standard error without the other methods' variances


def claim_all(
    effects: Sequence[Effect],
    *,
    family: int = 0,
    looks: Sequence[int] = (),
    planned: Sequence[int] = (),
    new_rows: bool = True,
) -> tuple[Claim, ...]:
    """Test each of several effects against one baseline.

    Let d̄ be the mean difference of a method, s² its variance over S seeds, R the number of test
    rows, k the number of methods compared, and T the distribution function of Student's t.

    The p-value is 2·T(−|d̄|/√(s̃²/S + s²(row means)/R)) with Satterthwaite's degrees of freedom. It
    is never below the p-value over the seeds alone. Then Holm's correction is applied.

    With three or more seeds, the mean s̄² of the other methods' variances moderates s²: s̃² =
    (d₀·s̄² + ν·s²)/(d₀ + ν), but not below s². It has d₀ + ν degrees of freedom, with ν = S − 1 and
    d₀ = ν·(k − 1)/4. Runs that are not paired are not moderated: s̃² = s².

    The interval is d̄ ± t(1 − 0.05/2k)·se, where se is the square root above. It is never narrower
    than the interval over the seeds alone. If only Holm's correction excludes zero, k excludes the
    methods with a smaller p-value.

    A look is an analysis of the results after some number of seeds. The first look has the level
    0.05. All later looks together have the level 0.01, with the anytime-valid p-value. Planned
    looks have their own levels.

    Args:
        effects: one for each method.
        family: number of methods compared, including those without an effect.
        looks: numbers of seeds at each look; the current look is last.
        planned: numbers of seeds of all looks that were planned before the first look.
        new_rows: whether claims are about other test rows as well as other seeds.

    References: Holm (1979); Smyth (2004), "Linear models and empirical Bayes methods", whose s̃²
    may be below s² (with unequal noise of the methods, that makes more than 5 % false claims);
    Satterthwaite (1946), "An approximate distribution of estimates of variance components".

    >>> (claim,) = claim_all([Effect(mean=2.0, seeds=3, seed_variance=1.0)], new_rows=False)
    >>> claim.estimate, round(claim.p, 4)
    (Estimate(mean=2.0, low=-0.484..., high=4.484..., n=3), 0.0742)
    """
    size = max(family, len(effects))
    rule = _Rule(_find_level(looks, planned))
    spreads = [_measure_spread(effects, i, new_rows) for i in range(len(effects))]
    pairs = list(zip(effects, spreads, strict=True))
    p_values = [None if spread is None else rule.test(e, spread) for e, spread in pairs]
    corrected = holm([*p_values, *[None] * (size - len(effects))])
    claims = []
    for (effect, spread), p, p_holm in zip(pairs, p_values, corrected, strict=False):
        claim = Claim(rule.estimate(effect, spread, size), p, p_holm)
        if claim.is_significant and not claim.estimate.excludes_zero:
            smaller = sum(other < p for other in p_values if other is not None and p is not None)
            claim = replace(claim, estimate=rule.estimate(effect, spread, size - smaller))
        claims.append(claim)
    return tuple(claims)


def estimate_alone(effect: Effect) -> Estimate:
    """Return the difference with its 95 % interval over the seeds, without corrections.

    >>> estimate_alone(Effect(mean=2.0, seeds=3, seed_variance=1.0))
    Estimate(mean=2.0, low=-0.484..., high=4.484..., n=3)
    """
    return claim_all([effect], new_rows=False)[0].estimate


def are_different(effect: Effect, family: int, *, new_rows: bool = True) -> bool:
    """Return whether two methods differ, by the same rule but corrected for all pairs of methods.

    All k(k − 1)/2 pairs of k methods count, because either method may have been chosen by its
    result.
    """
    pairs = max(1, family * (family - 1) // 2)
    (claim,) = claim_all([effect], family=pairs, new_rows=new_rows)
    return claim.p is not None and claim.p * pairs < SIGNIFICANCE


def _measure_spread(effects: Sequence[Effect], index: int, new_rows: bool) -> _Spread | None:
    effect = effects[index]
    if effect.seed_variance is None or (new_rows and effect.row_variance is None):
        return None
    others = [
        other.seed_variance
        for place, other in enumerate(effects)
        if place != index and other.seed_variance is not None and effect.freedom is None
    ]
    freedom = effect.seeds - 1.0 if effect.freedom is None else effect.freedom
    variance = effect.seed_variance
    if others and effect.seeds >= FEWEST:
        prior = freedom * len(others) / 4
        pooled = math.fsum(others) / len(others)
        variance = max(variance, (prior * pooled + freedom * variance) / (prior + freedom))
        freedom += prior
    part = variance * effect.share
    parts = [(math.sqrt(part), freedom)]
    rows = effect.row_variance if new_rows else None
    if rows:
        weight = part**2 / freedom + rows**2 / (effect.row_freedom or effect.rows - 1)
        parts.append((math.sqrt(part + rows), (part + rows) ** 2 / weight))
    return _Spread(tuple(parts), math.sqrt(effect.seed_variance * effect.share + (rows or 0.0)))


def _find_level(looks: Sequence[int], planned: Sequence[int]) -> float | None:
    """Return the level of the current look; ``None`` if only an anytime-valid test is valid."""
    if looks and planned and set(looks) <= set(planned):
        return spend_level(planned.index(looks[-1]))
    return SIGNIFICANCE if len(looks) <= 1 else None


@dataclass(frozen=True)
class _Rule:
    """The test of one study: the t-test at a level, or the anytime-valid test if it is ``None``."""

    level: float | None

    def test(self, effect: Effect, spread: _Spread) -> float:
        size = abs(effect.mean)
        p = max(2 * float(stdtr(freedom, -size / error)) for error, freedom in spread.parts)
        if self.level is not None:
            return min(1.0, p * SIGNIFICANCE / self.level)
        return min(1.0, max(p, anytime_p(size / spread.unpooled, effect.seeds) / LATER))

    def estimate(self, effect: Effect, spread: _Spread | None, family: int) -> Estimate:
        if spread is None:
            return Estimate(effect.mean, None, None, effect.seeds)
        level = (self.level or SIGNIFICANCE) / family
        half = max(float(stdtrit(df, 1 - level / 2)) * error for error, df in spread.parts)
        if self.level is None:
            critical = anytime_critical(effect.seeds, level * LATER)
            half = max(half, critical * spread.unpooled)
        if math.isinf(half):
            return Estimate(effect.mean, None, None, effect.seeds)
        return Estimate(effect.mean, effect.mean - half, effect.mean + half, effect.seeds)
