"""How often claims are false where training sets overlap: real learners on folds of drawn rows.

Every learner sees features of its own, drawn alike, so that none is better than another over data
sets of one size. On a single data set one always is, and all its folds say so.
"""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from dropkit.study.analysis.summary import MethodSummary, summarize
from dropkit.study.data import Data, split
from dropkit.study.record import DataInfo, Record, Scores
from dropkit.study.record.overlap import measure_overlap
from helpers.fabricated import make_run

pytestmark = pytest.mark.soak

Array = npt.NDArray[np.float64]
Masks = tuple[Array, Array]
"""Which rows are trained on and tested on: two arrays of shape (runs, rows)."""

LEVEL = 0.05
FEATURES = 4
GROUP = 4
DIVISIONS = 10
SIZES = [
    # folds, repetitions, methods, rows, rounds
    (2, 5, 3, 400, 1000),
    (5, 1, 1, 100, 2000),
    (5, 2, 5, 1000, 300),
    (5, 5, 1, 200, 1500),
    (5, 5, 5, 100, 600),
    (5, 20, 1, 100, 600),
    (10, 1, 2, 300, 1500),
    (10, 3, 3, 150, 600),
]


def bound(rounds: int) -> float:
    """The level and three Monte-Carlo standard errors."""
    return LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / rounds)


@lru_cache
def mask_rows(
    task: str, rows: int, folds: int, repetitions: int, by: str = "random", study: int = 0
) -> Masks:
    """Divide rows as studies do. It depends on the order of targets alone, which are sorted.

    So one of a few divisions serves many studies; no single one, which could be a lucky one.
    """
    y = sort_targets(task, np.arange(rows, dtype=np.float64))
    key = np.arange(rows) // GROUP if by == "group" else None
    data = Data("drawn", np.zeros((rows, 1)), y, task, CLASSES[task], "y", key=key, key_name="g")  # type: ignore[arg-type]
    train, test = np.zeros((2, folds * repetitions, rows))
    for seed in range(folds * repetitions):
        first = study * folds * repetitions
        parts = split(data, seed=first + seed, folds=folds, by=by)
        train[seed, parts.train] = test[seed, parts.test] = 1
    return train, test


CLASSES = {"classification": ("a", "b"), "regression": ()}


def sort_targets(task: str, values: Array) -> npt.NDArray[np.generic]:
    """Numbers in rising order, or two classes of equal size."""
    order = np.sort(values)
    return (order > np.median(order)).astype(np.int64) if task == "classification" else order


def fit_ridge(x: Array, y: Array, train: Array) -> Array:
    """Predictions of every run for every row, by ridge regression on its training rows."""
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    gram = np.einsum("sn,na,nb->sab", train, x, x, optimize=True) + np.eye(x.shape[1])
    weights = np.linalg.solve(gram, ((train * y) @ x)[..., None])[..., 0]
    return np.asarray(weights @ x.T)


def fit_centroids(x: Array, y: Array, train: Array) -> Array:
    """The squared distance to class a less that to class b: above 0 for what is like b."""
    distances = []
    for label in (0, 1):
        chosen = train * (y == label)
        centre = chosen @ x / chosen.sum(1, keepdims=True)
        distances.append(((x[None] - centre[:, None]) ** 2).sum(2))
    return np.asarray(distances[0] - distances[1])


def draw_values(
    rng: np.random.Generator, task: str, masks: Masks, methods: int, gain: float, by: str = "random"
) -> Array:
    """The measure of every method and run; the first is worse by an amount of ``gain``."""
    train, test = masks
    rows = train.shape[1]
    x = rng.normal(size=(methods, rows, FEATURES))
    if task == "classification":
        y = sort_targets(task, np.arange(rows, dtype=np.float64))
        if by == "group":  # rows of one group are alike
            x += 2 * np.repeat(rng.normal(size=(methods, rows // GROUP, FEATURES)), GROUP, axis=1)
        shift = np.full((methods, 1, 1), 0.4)
        shift[1:] += gain
        x += shift * (2 * y[:, None] - 1)
        wrong = [(fit_centroids(each, y, train) > 0) != y for each in x]
        return np.array([(w * test).sum(1) / test.sum(1) for w in wrong])
    signal = x.sum(2)
    signal[1:] *= 1 + gain
    y = signal.sum(0) + 2 * rng.standard_t(5, rows)
    order = np.argsort(y)
    squared = [(fit_ridge(each[order], y[order], train) - y[order]) ** 2 for each in x]
    return np.array([np.sqrt((e * test).sum(1) / test.sum(1)) for e in squared])


def record_values(
    values: Array,
    task: str,
    masks: Masks,
    folds: int,
    overlap: float | None = None,
    **about: object,
) -> Record:
    """The record of a study with these values; ``overlap`` in the place of what the rows have."""
    train, test = masks
    info = DataInfo(
        "drawn", task, "y", round(train.sum(1).mean()), 1, round(test.sum() / len(test) * folds),
        (FEATURES,), len(CLASSES[task]) or 1, CLASSES[task], "f" * 64,
    )  # fmt: skip
    names = ("none", *(f"m{number}" for number in range(1, len(values))))
    runs = [
        replace(TEMPLATE[task], method=name, seed=seed, test=Scores(0.3, value))
        for name, row in zip(names, values.tolist(), strict=True)
        for seed, value in enumerate(row)
    ]
    known = measure_overlap(info, folds) if overlap is None else overlap
    study = {"folds": folds} | about.pop("study", {})  # type: ignore[operator]
    return Record(study=study, data=info, methods=names, runs=tuple(runs), overlap=known, **about)  # type: ignore[arg-type]


TEMPLATE = {task: replace(make_run("none", 0, 0.2, task=task), row_errors=None) for task in CLASSES}


def claims(summaries: tuple[MethodSummary, ...]) -> bool:
    return any(summary.is_significant for summary in summaries)


def count_claims(
    task: str,
    rows: int,
    folds: int,
    repetitions: int,
    methods: int,
    rounds: int,
    by: str = "random",
) -> tuple[float, float]:
    """The shares of studies with a claim, by the rule and without what it adds for overlap."""
    rng = np.random.default_rng([folds, methods, rows, rounds])
    found = naive = 0
    for study in range(rounds):
        masks = mask_rows(task, rows, folds, repetitions, by, study % DIVISIONS)
        values = draw_values(rng, task, masks, methods + 1, 0.0, by)
        found += claims(summarize(record_values(values, task, masks, folds)))
        naive += claims(summarize(record_values(values, task, masks, folds, overlap=1e-12)))
    print(f"{found / rounds:.4f}, without the correction {naive / rounds:.4f}")
    return found / rounds, naive / rounds


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize(("folds", "repetitions", "methods", "rows", "rounds"), SIZES)
def test_any_claim_from_folds_is_rarely_false(
    folds: int, repetitions: int, methods: int, rows: int, rounds: int, task: str
) -> None:
    found, naive = count_claims(task, rows, folds, repetitions, methods, rounds)
    assert found <= bound(rounds)
    if repetitions > 1:  # why there is a correction
        assert naive > 2 * LEVEL


def test_any_claim_from_folds_of_groups_is_rarely_false() -> None:
    found, naive = count_claims("classification", 200, 5, 3, 2, 1000, by="group")
    assert found <= bound(1000)
    assert naive > 2 * LEVEL


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize(("folds", "repetitions", "methods"), [(5, 1, 1), (5, 5, 1), (5, 2, 5)])
def test_intervals_from_folds_cover_the_truth(
    folds: int, repetitions: int, methods: int, task: str
) -> None:
    """The truth is the mean of all studies, over data sets, of methods that are equally good."""
    divided = [mask_rows(task, 120, folds, repetitions, study=i) for i in range(DIVISIONS)]
    rounds = 1000
    rng = np.random.default_rng([folds, repetitions, methods])
    values = np.array(
        [
            draw_values(rng, task, divided[study % DIVISIONS], methods + 1, 0.4)
            for study in range(rounds)
        ]
    )
    level, base = values[:, 1:].mean(), values[:, 0].mean()
    assert level < base  # there is a gain
    gains = values.mean((0, 2))[1:] - base
    covered, unclaimed = {"winner": 0, "value": 0}, 0
    for study in values:
        summaries = summarize(record_values(study, task, divided[0], folds))
        best = min(range(1, methods + 1), key=lambda i: study[i].mean())
        claim, value = summaries[best].claim, summaries[0].value
        assert claim is not None
        assert value is not None
        for name, estimate, truth in (
            ("winner", claim.estimate, gains[best - 1]),
            ("value", value, base),
        ):
            if estimate.low is None or estimate.high is None:  # all folds alike: nothing is claimed
                covered[name] += 1
                unclaimed += 1
                continue
            covered[name] += estimate.low <= truth <= estimate.high
    print({name: round(count / rounds, 4) for name, count in covered.items()})
    assert unclaimed < rounds / 100
    assert min(covered.values()) / rounds >= 0.93


@pytest.mark.parametrize("looks", ["planned", "at every repetition"])
def test_looking_at_more_repetitions_claims_rarely(looks: str) -> None:
    folds, rounds, false = 5, 500, 0
    rng = np.random.default_rng(0)
    counts = (2, 4, 8) if looks == "planned" else tuple(range(1, 9))
    plan = {"until_decided": True, "seeds": 2, "max_seeds": 8} if looks == "planned" else {}
    for study in range(rounds):
        masks = mask_rows("regression", 100, folds, 8, study=study % DIVISIONS)
        values = draw_values(rng, "regression", masks, 3, 0.0)
        for number, count in enumerate(counts):
            until = values[:, : count * folds]
            record = record_values(
                until, "regression", masks, folds, study=plan, looks=counts[: number + 1]
            )
            if claims(summarize(record)):
                false += 1
                break
    print(false / rounds)
    assert false / rounds <= bound(rounds)
