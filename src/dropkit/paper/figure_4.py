"""Figure 4: test error against updates for six architectures, with and without dropout."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from dropkit.errors import StudyError
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import (
    AS_COMPARE,
    DROP,
    DROPPED_AS_COMPARE,
    FEW,
    LIKE_COMPARE,
    ON_FEW,
    train_mlp,
)
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._train import Recipe
from dropkit.paper._trainings import Trainings

DEPTHS = (2, 3, 4)
DROPPED, WHOLE = "dropout", "without dropout"
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        DROPPED: DROP | {"lr": 1.0, "max_norm": 2.0},
        WHOLE: {"lr": 0.3, "max_norm": 2.0},
    },
    "compare": {
        DROPPED: DROPPED_AS_COMPARE,
        WHOLE: AS_COMPARE,
    },
}
"""Settings with and without dropout, for the paper's schedules and those of `dropkit compare`."""


def run(
    trainings: Trainings,
    *,
    widths: list[int],
    updates: int,
    points: int,
    recipe: Recipe = "paper",
    rows: int | None = None,
    seeds: int = 1,
    data_dir: str | None,
) -> Outcome:
    """Train every architecture with and without dropout.

    Args:
        trainings: runs the trainings.
        widths: widths of the hidden layers.
        updates: number of updates of each net.
        points: number of measurements of the error.
        recipe: a name in `RECIPES`.
        rows: number of training images, starting with the first one; None for all.
        seeds: number of nets of each kind; the figure shows their mean.
        data_dir: the folder with the data sets.
    """
    ways = RECIPES[recipe]
    nets = [(width,) * depth for depth, width in product(DEPTHS, widths)]
    shared = {"updates": updates, "points": points, "data_dir": data_dir}
    if rows is not None:
        shared["rows"] = rows
    # Start with the widest nets, because at the end one of them would leave other cores idle.
    results = trainings.by_key(
        train_mlp,
        {
            (way, net, seed): shared | ways[way] | {"hidden": list(net), "seed": seed}
            for seed, net, way in product(range(seeds), sorted(nets, key=sum, reverse=True), ways)
        },
    )
    # If only some trainings are finished, use the seeds with both nets of an architecture.
    found = {
        (way, net): [
            results[way, net, seed]
            for seed in range(seeds)
            if all((each, net, seed) in results for each in ways)
        ]
        for way, net in product(ways, nets)
    }
    found = {key: same for key, same in found.items() if same}
    if not found:
        raise StudyError("no architecture is finished in both ways yet")
    curves = [
        Curve(_name(net), way, tuple(same[0]["updates"]), _mean(same, "error"))
        for (way, net), same in found.items()
    ]
    table = [_row(*key, updates, same) for key, same in found.items()]
    figure, (axes,) = axes_of(6.4, 4.4)
    for i, (curve, same) in enumerate(zip(curves, found.values(), strict=True)):
        line(
            axes,
            curve.x,
            curve.y,
            f"{curve.name} {curve.group}",
            colour=WITH if curve.group == DROPPED else WITHOUT,
            number=i % (len(curves) // 2),
            spread=_spread(same),
        )
    axes.set_xlabel("weight updates")
    axes.set_ylabel("test error, %")
    finals = [curve.y[-1] for curve in curves]
    axes.set_ylim(min(finals) * 0.9, max(finals) * 1.5)
    legend(axes, columns=2)
    return Outcome(table, _checks(curves), figure, curves)


def _name(hidden: tuple[int, ...]) -> str:
    return f"{len(hidden)}×{hidden[0]}"


def _mean(same: list[dict[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(np.mean([each[key] for each in same], axis=0).round(6).tolist())


def _spread(same: list[dict[str, Any]]) -> Any:
    return np.std([each["error"] for each in same], axis=0, ddof=1) if len(same) > 1 else None


def _row(way: str, hidden: tuple[int, ...], updates: int, same: list[dict[str, Any]]) -> Row:
    finals = [each["error"][-1] for each in same]
    return {
        "architecture": _name(hidden),
        "training": way,
        "updates": updates,
        "test error %": round(float(np.mean(finals)), 4),
        "lowest to highest": f"{min(finals):.2f} to {max(finals):.2f}",
        "nets": len(finals),
        "training error %": float(np.mean([each["train_error"] for each in same])),
    }


def _checks(curves: list[Curve]) -> list[Check]:
    dropped = [curve for curve in curves if curve.group == DROPPED]
    plain = [curve for curve in curves if curve.group != DROPPED]
    lower = [d.y[-1] < w.y[-1] for d, w in zip(dropped, plain, strict=True)]
    second_half = [
        all(a < b for a, b in zip(d.y[len(d.y) // 2 :], w.y[len(w.y) // 2 :], strict=True))
        for d, w in zip(dropped, plain, strict=True)
    ]
    gap = min(w.y[-1] for w in plain) - max(d.y[-1] for d in dropped)
    shown = len(dropped)
    every = "6 of 6 †" if shown == 2 * len(DEPTHS) else f"all six †; {shown} finished here"
    return [
        Check(
            "architectures that end lower with dropout", sum(lower), every, shown, shown, full=True
        ),
        Check(
            "architectures lower at every point of the second half",
            sum(second_half),
            every,
            shown,
            shown,
            full=True,
        ),
        Check("points between the two clusters at the end", gap, "above 0 †", 0, full=True),
        Check(
            "worst final error with dropout, %",
            max(d.y[-1] for d in dropped),
            "about 1.0 to 1.3 †",
            0.9,
            1.4,
            full=True,
        ),
    ]


EXPERIMENT = Experiment(
    name="figure-4",
    title="Test error against updates, six architectures with and without dropout",
    source="Srivastava et al. 2014, figure 4; the article's figure of error curves",
    run=run,
    sizes={
        "quick": Size(
            "2, 3 and 4 hidden layers of 64 and 128 units (the paper: 1024 and 2048), 600 updates "
            "(1,000,000), one seed. Far too short to show what the figure shows.",
            {"widths": [64, 128], "updates": 600, "points": 6},
        ),
        "short": Size(
            "2, 3 and 4 hidden layers of 512 and 1024 units (the paper: 1024 and 2048), 5,000 "
            f"updates (1,000,000), three seeds. {ON_FEW}. {LIKE_COMPARE}; with dropout also "
            "max-norm 3.",
            {
                "widths": [512, 1024],
                "updates": 5_000,
                "points": 25,
                "recipe": "compare",
                "rows": FEW,
                "seeds": 3,
            },
        ),
        "medium": Size(
            "2, 3 and 4 hidden layers of 800 and 1024 units (the paper: 1024 and 2048), 30,000 "
            f"updates (1,000,000), up to three seeds. {LIKE_COMPARE}; with dropout also "
            "max-norm 3.",
            {
                "widths": [800, 1024],
                "updates": 30_000,
                "points": 50,
                "recipe": "compare",
                "seeds": 3,
            },
        ),
        "full": Size(
            "The paper's protocol: 2, 3 and 4 hidden layers of 1024 and 2048 units, 1,000,000 "
            "updates, all 60,000 training images, one seed; max-norm 2 in all nets, and those "
            "without dropout at 0.3 times the learning rate (the paper's rate is unknown to us).",
            {"widths": [1024, 2048], "updates": 1_000_000, "points": 100},
        ),
    },
)
