"""Measure how much longer a net with dropout trains, in updates and in seconds."""

from __future__ import annotations

import statistics
from itertools import product
from typing import Any

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import train_mlp
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._trainings import Trainings

LENGTHS = (1, 2, 3)  # multiples of the plain net's updates; each length has its own schedules


def run(
    trainings: Trainings,
    *,
    hidden: list[int],
    updates: int,
    points: int,
    seeds: int,
    data_dir: str | None,
) -> Outcome:
    """Train a net without dropout, and with dropout for 1, 2 and 3 times as many updates."""
    common = {"hidden": hidden, "validate": True, "data_dir": data_dir}
    cases = [(0, seed) for seed in range(seeds)] + list(product(LENGTHS, range(seeds)))
    settings = [
        common
        | {"seed": seed, "updates": updates * max(length, 1), "points": points * max(length, 1)}
        | ({"p": 0.5, "p_input": 0.2, "lr": 1.0} if length else {"lr": 0.3})
        for length, seed in cases
    ]
    found = dict(zip(cases, trainings.all(train_mlp, settings), strict=True))
    rows, ratios = [], []
    for seed in range(seeds):
        plain = found[0, seed]
        target = min(plain["error"])
        target_at = _first(plain, target)
        assert target_at is not None
        dropped = [found[length, seed] for length in LENGTHS]
        reached = [(each, at) for each in dropped if (at := _first(each, target)) is not None]
        soonest = min(reached, key=lambda pair: pair[1], default=None)
        longest = dropped[-1]
        own = _first(longest, min(longest["error"]))
        assert own is not None
        step = statistics.median(_step(each) for each in dropped) / _step(plain)
        ratio = None if soonest is None else soonest[1] / target_at
        ratios.append(ratio)
        rows.append(
            {
                "seed": float(seed),
                "plain best %": target,
                "at update": float(target_at),
                "dropout at update": None if soonest is None else float(soonest[1]),
                "updates ×": ratio,
                "step ×": step,
                "seconds ×": None if ratio is None else ratio * step,
                "dropout best %": min(longest["error"]),
                "updates to its best ×": own / target_at,
                "seconds to its best ×": own / target_at * step,
            }
        )
    figure, (axes,) = axes_of(6.0, 4.0)
    curves: list[Curve] = []
    for length in (0, *LENGTHS):
        name = f"dropout, {length}× the updates" if length else "without dropout"
        runs = [found[length, seed] for seed in range(seeds)]
        mean = tuple(
            statistics.fmean(column) for column in zip(*(r["error"] for r in runs), strict=True)
        )
        group = "dropout" if length else "without dropout"
        curves.append(Curve(name, group, tuple(runs[0]["updates"]), mean))
        line(axes, curves[-1].x, mean, name, colour=WITH if length else WITHOUT, number=length)
    axes.set_ylim(0.8 * min(map(min, (c.y for c in curves))), 2.5 * curves[0].y[-1])
    axes.set_xlabel("weight updates")
    axes.set_ylabel("validation error, %")
    legend(axes)
    return Outcome(rows, _checks(rows, ratios), figure, curves)


def _first(result: dict[str, Any], target: float) -> int | None:
    """Return the first measured number of updates with an error of at most ``target``."""
    pairs = zip(result["updates"], result["error"], strict=True)
    return next((updates for updates, error in pairs if error <= target), None)


def _step(result: dict[str, Any]) -> float:
    seconds: float = result["seconds"]
    updates: int = result["updates"][-1]
    return seconds / updates


def _checks(rows: list[Row], ratios: list[float | None]) -> list[Check]:
    def mean(column: str) -> float:
        return statistics.fmean(v for row in rows if isinstance(v := row[column], float))

    never = ratios.count(None)
    checks = [
        Check(
            "seeds in which dropout reached the plain net's best error",
            len(ratios) - never,
            "all †",
            low=len(ratios),
            full=True,
        ),
        Check("time of one update, as a ratio", mean("step ×"), "not stated", None, None),
        Check(
            "time to its own best, as a ratio",
            mean("seconds to its best ×"),
            "2 to 3 times †",
            2.0,
            3.0,
            full=True,
        ),
    ]
    if never < len(ratios):
        checks.append(
            Check(
                "time to the plain net's best error, as a ratio, where it was reached",
                mean("seconds ×"),
                "2 to 3 times †",
                2.0,
                3.0,
                full=True,
            )
        )
    return checks


EXPERIMENT = Experiment(
    name="cost",
    title="How much longer a net with dropout takes, in updates and in seconds",
    source="Srivastava et al. 2014, section 11; the article's drawback, “2–3 times longer”",
    run=run,
    sizes={
        "quick": Size(
            "784-128-128-10, plain for 400 updates, dropout for 1 to 3 times as many, one seed, "
            "50,000 training and 10,000 validation images. Far too short to settle the claim.",
            {"hidden": [128, 128], "updates": 400, "points": 8, "seeds": 1},
        ),
        "short": Size(
            "784-1024-1024-10, plain for 4,000 updates, dropout for 1 to 3 times as many, three "
            "seeds, 50,000 training and 10,000 validation images; the paper's schedules over each "
            "length, learning rate 1 with dropout and 0.3 without; one thread each, two trainings "
            "side by side.",
            {"hidden": [1024, 1024], "updates": 4000, "points": 20, "seeds": 3},
        ),
        "full": Size(
            "784-1024-1024-2048-10, plain for 300,000 updates, dropout for 1 to 3 times as many, "
            "five seeds, 50,000 training and 10,000 validation images. The paper does not say how "
            "it measured.",
            {"hidden": [1024, 1024, 2048], "updates": 300_000, "points": 100, "seeds": 5},
        ),
    },
)
