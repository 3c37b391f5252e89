"""How often claims are false: the rules of every verdict, by simulated studies.

The methods of a simulated study are exchangeable, so that no difference between them is true.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from dropkit.study.analysis.effect import Effect, count_freedom, measure_effect
from dropkit.study.analysis.family import claim_all
from dropkit.study.analysis.pairs import subtract_rows
from dropkit.study.metrics import METRICS, Metric

pytestmark = pytest.mark.soak

FloatArray = npt.NDArray[np.float64]
LEVEL = 0.05


def bound(rounds: int, level: float = LEVEL) -> float:
    """The level and three Monte-Carlo standard errors."""
    return level + 3 * math.sqrt(level * (1 - level) / rounds)


def draw_errors(
    rng: np.random.Generator, methods: int, seeds: int, rows: int, task: str, heavy: bool
) -> FloatArray:
    """Errors of shape (methods, seeds, rows): rows and runs have effects of their own."""

    def draw(*shape: int) -> FloatArray:
        return rng.standard_t(3, shape) if heavy else rng.normal(size=shape)

    row = draw(1, 1, rows)
    row_of_method = 0.7 * draw(methods, 1, rows)
    seed_of_method = 0.15 * draw(methods, seeds, 1) + 0.2 * draw(1, seeds, 1)
    if task == "classification":
        logit = -2 + 1.5 * row + row_of_method + seed_of_method
        return (rng.random((methods, seeds, rows)) < 1 / (1 + np.exp(-logit))).astype(float)
    own = 0.3 * rng.normal(size=(methods, seeds, rows))
    return (row + 0.3 * row_of_method + 0.3 * seed_of_method * np.sign(row) + own) ** 2


def measure(errors: FloatArray, task: str) -> list[Effect]:
    """The effects of all methods but the first, against it."""
    values = errors.mean(2) if task == "classification" else np.sqrt(errors.mean(2))
    effects = []
    for method in range(1, len(errors)):
        alone = measure_effect(values[method] - values[0])
        crossed = measure_effect(subtract_rows(errors[method], errors[0], task))
        effects.append(
            Effect(alone.mean, alone.seeds, alone.seed_variance, crossed.row_variance, crossed.rows)
        )
    return effects


def draw_scores(
    rng: np.random.Generator, methods: int, seeds: int, rows: int, share: float, heavy: bool
) -> tuple[npt.NDArray[np.int_], FloatArray]:
    """Classes of the rows, and logits of shape (methods, seeds, rows).

    Rows have effects of their own, for every method others, and every run is as good as it is.
    """

    def draw(*shape: int) -> FloatArray:
        return rng.standard_t(3, shape) if heavy else rng.normal(size=shape)

    truth = np.zeros(rows, int)
    while not 2 <= truth.sum() <= rows - 2:
        truth = (rng.random(rows) < share).astype(int)
    skill = 1.5 + 0.15 * rng.normal(size=(methods, seeds, 1))
    own = 0.4 * draw(methods, seeds, rows)
    return truth, skill * truth + draw(1, 1, rows) + 0.7 * draw(methods, 1, rows) + own - 1


def measure_contributions(
    metric: Metric, truth: npt.NDArray[np.int_], scores: FloatArray
) -> list[Effect]:
    """The effects of all methods but the first, against it, as a study measures them."""
    if metric.takes == "labels":
        given: FloatArray = (scores > 0).astype(float)
    else:
        chance = 1 / (1 + np.exp(-scores))
        given = np.stack([1 - chance, chance], -1)
    rows = np.array([[metric.contribute(truth, run) for run in method] for method in given])
    effects = []
    for method in rows[1:]:
        effect, by_row = measure_effect(method - rows[0]), (method - rows[0]).mean(0)
        effects.append(replace(effect, row_freedom=count_freedom(by_row)))
    return effects


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy"])
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("seeds", "methods", "rows", "rounds"),
    [(2, 1, 100, 4000), (2, 5, 1000, 1000), (5, 1, 359, 3000), (5, 5, 100, 3000),
     (5, 2, 5000, 500), (10, 3, 500, 1500), (20, 1, 100, 3000), (20, 5, 1000, 500)],
)  # fmt: skip
def test_any_claim_about_new_rows_is_rarely_false(
    seeds: int, methods: int, rows: int, rounds: int, task: str, heavy: bool
) -> None:
    rng = np.random.default_rng([seeds, methods, rows, heavy])
    false = 0
    for _ in range(rounds):
        effects = measure(draw_errors(rng, methods + 1, seeds, rows, task, heavy), task)
        false += any(claim.is_significant for claim in claim_all(effects))
    print(false / rounds)
    assert false / rounds <= bound(rounds)


@pytest.mark.parametrize("metric", ["auc", "f1-macro", "average-precision"])
@pytest.mark.parametrize(
    ("seeds", "methods", "rows", "share", "heavy", "rounds"),
    [(3, 1, 200, 0.5, False, 1500), (5, 1, 200, 0.1, False, 1500), (10, 1, 200, 0.1, True, 1000),
     (10, 1, 200, 0.05, False, 1000), (10, 3, 200, 0.1, False, 500), (5, 1, 2000, 0.1, False, 400)],
)  # fmt: skip
def test_claims_about_new_rows_by_metrics_that_are_no_means_are_rarely_false(
    metric: str, seeds: int, methods: int, rows: int, share: float, heavy: bool, rounds: int
) -> None:
    rng = np.random.default_rng([seeds, methods, rows])
    false = 0
    for _ in range(rounds):
        truth, scores = draw_scores(rng, methods + 1, seeds, rows, share, heavy)
        effects = measure_contributions(METRICS[metric], truth, scores)
        false += any(claim.is_significant for claim in claim_all(effects))
    print(false / rounds)
    assert false / rounds <= bound(rounds)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
@pytest.mark.parametrize(
    "scales", [(1, 1, 1, 1, 1), (0.25, 0.5, 1, 2, 4)], ids=["equal", "unequal"]
)
@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy"])
def test_claims_over_seeds_alone_are_rarely_false(
    seeds: int, scales: tuple[float, ...], heavy: bool
) -> None:
    rng, rounds, false = np.random.default_rng(seeds), 6000, 0
    for _ in range(rounds):
        draws = rng.standard_t(3, (6, seeds)) if heavy else rng.normal(size=(6, seeds))
        runs = draws[1:] * np.array(scales)[:, None]
        effects = [measure_effect(run - draws[0]) for run in runs]
        false += any(claim.is_significant for claim in claim_all(effects, new_rows=False))
    print(false / rounds)
    assert false / rounds <= bound(rounds)


@pytest.mark.parametrize("rows", [0, 60])
def test_the_winners_interval_covers_its_true_gain(rows: int) -> None:
    rng, rounds, covered = np.random.default_rng(0), 4000, 0
    for _ in range(rounds):
        runs = rng.normal(size=(6, 5, 1))
        if rows:
            runs = runs + rng.normal(size=(6, 1, rows)) * math.sqrt(rows / 5)
        gains = runs[1:] - runs[0] - 1.0  # each method is 1.00 better
        effects = [measure_effect(gain if rows else gain[:, 0]) for gain in gains]
        claims = claim_all(effects, new_rows=bool(rows))
        best = min(claims, key=lambda claim: claim.estimate.mean).estimate
        assert best.low is not None
        assert best.high is not None
        covered += best.low <= -1.0 <= best.high
    print(covered / rounds)
    assert covered / rounds >= 0.93


@pytest.mark.parametrize("searches", ["one", "one for each seed"])
def test_a_method_tuned_twice_does_not_differ_from_itself(searches: str) -> None:
    rng, rounds, false = np.random.default_rng(0), 4000, 0
    for _ in range(rounds):
        # What a search finds is worse than the best by its own luck.
        shape = (2, 1) if searches == "one" else (2, 5)
        luck = rng.exponential(size=shape)
        runs = luck + rng.normal(size=(2, 5))
        (claim,) = claim_all([measure_effect(runs[1] - runs[0])], new_rows=False)
        false += claim.is_significant
    if searches == "one":
        assert false / rounds > 0.1  # why every seed has a search of its own
    else:
        assert false / rounds <= bound(rounds)


@pytest.mark.parametrize("methods", [1, 3])
@pytest.mark.parametrize("rows", [0, 200])
def test_looking_at_every_seed_claims_rarely(methods: int, rows: int) -> None:
    rng, rounds, false = np.random.default_rng(rows), 3000, 0
    for _ in range(rounds):
        runs = rng.normal(size=(methods + 1, 20, 1))
        if rows:
            runs = runs + rng.normal(size=(methods + 1, 1, rows)) * math.sqrt(rows / 5)
        for n in range(3, 21):
            effects = [
                measure_effect((run - runs[0])[:n] if rows else (run - runs[0])[:n, 0])
                for run in runs[1:]
            ]
            looks = tuple(range(3, n + 1))
            claims = claim_all(effects, looks=looks, new_rows=bool(rows))
            if any(claim.is_significant for claim in claims):
                false += 1
                break
    print(false / rounds)
    assert false / rounds <= bound(rounds)
