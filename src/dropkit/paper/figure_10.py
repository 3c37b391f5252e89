"""Figure 10: error against the size of the training set, with and without dropout."""

from __future__ import annotations

import statistics
from itertools import product
from typing import Any

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import AS_COMPARE, DROP, DROPPED_AS_COMPARE, LIKE_COMPARE, train_mlp
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._train import Recipe
from dropkit.paper._trainings import Trainings

SIZES = (100, 500, 1000, 5000, 10_000, 50_000)
WAYS = ("dropout", "without dropout")
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {WAYS[0]: DROP | {"lr": 1.0}, WAYS[1]: {"p": 0.0, "p_input": 0.0, "lr": 0.3}},
    "compare": {WAYS[0]: DROPPED_AS_COMPARE, WAYS[1]: AS_COMPARE},
}
"""Settings with and without dropout, for the paper's schedules and those of `dropkit compare`."""


def run(
    trainings: Trainings,
    *,
    hidden: list[int],
    updates: int,
    seeds: int,
    recipe: Recipe = "paper",
    data_dir: str | None,
) -> Outcome:
    """Train on increasing numbers of training images."""
    cases = list(product(WAYS, SIZES, range(seeds)))
    settings = [
        {"hidden": hidden, "updates": updates, "rows": size, "seed": seed, "data_dir": data_dir}
        | RECIPES[recipe][way]
        for way, size, seed in cases
    ]
    found = dict(zip(cases, trainings.all(train_mlp, settings), strict=True))
    errors = {
        (way, size): [found[way, size, seed]["error"][-1] for seed in range(seeds)]
        for way, size in product(WAYS, SIZES)
    }
    mean = {case: statistics.fmean(values) for case, values in errors.items()}
    figure, (axes,) = axes_of(6.0, 4.0)
    curves: list[Curve] = []
    for way, colour in zip(WAYS, (WITH, WITHOUT), strict=True):
        values = tuple(mean[way, size] for size in SIZES)
        curves.append(Curve(way, way, SIZES, values))
        spread = [statistics.pstdev(errors[way, size]) for size in SIZES] if seeds > 1 else None
        line(axes, SIZES, values, way, colour=colour, number=len(curves), spread=spread)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("training images")
    axes.set_ylabel("test error, %")
    legend(axes)
    gain = {size: mean["without dropout", size] - mean["dropout", size] for size in SIZES}
    rows: list[Row] = [
        {
            "training images": float(size),
            "test error % with dropout": mean["dropout", size],
            "test error % without": mean["without dropout", size],
            "gain, points": gain[size],
            "gain, % of the error": 100 * gain[size] / mean["without dropout", size],
        }
        for size in SIZES
    ]
    return Outcome(rows, _checks(gain, mean), figure, curves)


def _checks(gain: dict[int, float], mean: dict[tuple[str, int], float]) -> list[Check]:
    relative = {size: gain[size] / mean["without dropout", size] for size in SIZES}
    best = max(SIZES, key=lambda size: relative[size])
    return [
        Check("100 images: gain, points", gain[100], "none †", high=1.0, full=True),
        Check("500 images: gain, points", gain[500], "none †", high=1.0, full=True),
        Check(
            "largest gain, % of the error",
            100 * relative[best],
            "above 0 †",
            low=0.0,
            full=True,
        ),
        Check(
            "training images at which it is largest",
            best,
            "neither few nor all: it rises and falls †",
            1000,
            10_000,
            full=True,
        ),
    ]


EXPERIMENT = Experiment(
    name="figure-10",
    title="Error against the size of the training set, with and without dropout",
    source="Srivastava et al. 2014, figure 10",
    run=run,
    sizes={
        "quick": Size(
            "Widths 64-64-128 (the paper: 1024-1024-2048), 400 updates (1,000,000), one seed. Far "
            "too short to show what the figure shows.",
            {"hidden": [64, 64, 128], "updates": 400, "seeds": 1},
        ),
        "short": Size(
            "Widths 512-512-1024 (the paper: 1024-1024-2048), 5,000 updates (1,000,000), one seed. "
            f"{LIKE_COMPARE}; with dropout also max-norm 3.",
            {"hidden": [512, 512, 1024], "updates": 5000, "seeds": 1, "recipe": "compare"},
        ),
        "full": Size(
            "The paper's architecture 784-1024-1024-2048-10, 1,000,000 updates, three seeds; nets "
            "without dropout at 0.3 times the learning rate.",
            {"hidden": [1024, 1024, 2048], "updates": 1_000_000, "seeds": 3},
        ),
    },
)
