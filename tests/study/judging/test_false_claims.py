"""Methods that do not differ: how often a judgment says that one does."""

import math

import numpy as np
import pytest

import dropkit
from dropkit.study.judging.judgment import Judgment
from helpers.finished_runs import Rows, draw_runs

ROUNDS = {"paired": 5000, "unpaired": 5000, "few sets": 600, "many sets": 1000}


def claims(judgment: Judgment) -> bool:
    """Whether any word of the verdict says that a method differs from the baseline."""
    lines = (judgment.verdict.headline, *judgment.verdict.details)
    return any(
        " raises " in line or " lowers " in line for line in lines if "No method" not in line
    )


def unpair(rows: Rows) -> Rows:
    return [{key: value for key, value in row.items() if key != "seed"} for row in rows]


@pytest.mark.soak
@pytest.mark.parametrize("methods", [2, 3, 5, 10])
@pytest.mark.parametrize("design", ROUNDS)
def test_false_claims_are_at_most_five_per_cent(design: str, methods: int) -> None:
    rng = np.random.default_rng(methods)
    found, rounds = 0, ROUNDS[design]
    for _ in range(rounds):
        if design in ("paired", "unpaired"):
            rows = draw_runs(rng, methods, 5, shared=0.02 if design == "paired" else 0.0)
            rows = rows if design == "paired" else unpair(rows)
        elif design == "few sets":
            rows = draw_runs(rng, methods, 4, datasets=2)
        else:
            rows = draw_runs(rng, methods, 1, datasets=12)
        found += claims(dropkit.judge(rows))
    assert found / rounds <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / rounds)


def test_what_counts_as_a_claim_is_found() -> None:
    rng = np.random.default_rng(0)
    for rows in (
        draw_runs(rng, 3, 5, gains=(0, 0.1, -0.1)),
        unpair(draw_runs(rng, 3, 5, gains=(0, -0.2, 0))),
        draw_runs(rng, 3, 4, gains=(0, 0.1, 0), datasets=2),
        draw_runs(rng, 3, 1, gains=(0, 0.3, 0), datasets=12),
    ):
        assert claims(dropkit.judge(rows))
