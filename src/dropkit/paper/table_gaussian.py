"""Section 10: compare Bernoulli and Gaussian dropout on MNIST, a part of the table.

Both nets have the same rates, learning rates and norm limits, so only the distribution of the noise
differs. Whether the paper tuned each kind separately is unknown.
"""

from __future__ import annotations

import math
from itertools import product
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import train_mlp
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import WITH, axes_of
from dropkit.paper._trainings import Trainings
from dropkit.study.analysis.stats import t_interval
from dropkit.study.report.figures import COLOURS, INK

NOISES = {"dropout": "Bernoulli", "gaussian": "Gaussian"}
BANDS = {"dropout": (0.96, 1.20), "gaussian": (0.83, 1.07)}  # ± 3 of the paper's deviations
GAUSSIAN = COLOURS[2]
PAPER = {"dropout": "1.08 ± .04 †", "gaussian": "0.95 ± .04 †"}


def run(
    trainings: Trainings, *, hidden: list[int], updates: int, seeds: int, data_dir: str | None
) -> Outcome:
    """Train the net with both kinds of noise at the same rates."""
    cases = list(product(NOISES, range(seeds)))
    settings: list[dict[str, Any]] = [
        {"hidden": hidden, "updates": updates, "noise": noise, "seed": seed, "data_dir": data_dir}
        | {"p": 0.5, "p_input": 0.2, "max_norm": 2.0}
        for noise, seed in cases
    ]
    found = dict(zip(cases, trainings.all(train_mlp, settings), strict=True))
    errors = {noise: [found[noise, s]["error"][-1] for s in range(seeds)] for noise in NOISES}
    gains = [g - b for g, b in zip(errors["gaussian"], errors["dropout"], strict=True)]
    rows = [_row(name, errors[noise], PAPER[noise]) for noise, name in NOISES.items()]
    rows.append(_row("Gaussian − Bernoulli", gains, "−0.13 †"))
    checks = [
        Check(
            f"{name}, mean test error %",
            fmean(errors[noise]),
            PAPER[noise],
            *BANDS[noise],
            full=True,
        )
        for noise, name in NOISES.items()
    ]
    checks.append(
        Check("Gaussian − Bernoulli, mean points", fmean(gains), "−0.13 †", high=0.0, full=True)
    )
    return Outcome(rows, checks, _figure(errors, gains))


def _row(name: str, values: list[float], paper: str) -> Row:
    estimate = t_interval(values)
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return {
        "noise": name,
        "mean test error %": estimate.mean,
        "standard error": error,
        "95 % from": estimate.low,
        "to": estimate.high,
        "paper": paper,
    }


def _figure(errors: dict[str, list[float]], gains: list[float]) -> Figure:
    figure, (left, right) = axes_of(9.0, 2.6, columns=2)
    shown = [
        (left, 0, "Bernoulli", WITH, errors["dropout"]),
        (left, -1, "Gaussian", GAUSSIAN, errors["gaussian"]),
        (right, 0, "Gaussian − Bernoulli, same seed", GAUSSIAN, gains),
    ]
    for place, band in enumerate(BANDS.values()):
        left.plot(band, [-place] * 2, color=INK, alpha=0.35, linewidth=8)
    right.axvline(-0.13, color=INK, alpha=0.35, linewidth=4)
    for axes, place, name, colour, values in shown:
        estimate = t_interval(values)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [place] * 2, color=colour, linewidth=1.4)
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.45, markersize=5)
        axes.plot(estimate.mean, place, "|", color=colour, markersize=20, markeredgewidth=2)
        axes.annotate(
            name,
            (0, place + 0.24),
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=9,
            verticalalignment="bottom",
        )
    for axes, low in ((left, -1.4), (right, -0.9)):
        axes.set_ylim(low, 0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    right.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    left.set_xlabel("test error, %")
    right.set_xlabel("points; lines: 95 % intervals, grey: the paper's")
    return figure


EXPERIMENT = Experiment(
    name="table-gaussian",
    title="Bernoulli against Gaussian dropout on MNIST",
    source="Srivastava et al. 2014, section 10, table 10",
    run=run,
    sizes={
        "quick": Size(
            "784-64-64-10 (the paper: 1024 units), 400 updates (1,000,000), two seeds.",
            {"hidden": [64, 64], "updates": 400, "seeds": 2},
        ),
        "short": Size(
            "784-1024-1024-10, 5,000 updates (1,000,000) through the paper's schedules at 200 "
            "times their pace, three seeds.",
            {"hidden": [1024, 1024], "updates": 5000, "seeds": 3},
        ),
        "full": Size(
            "784-1024-1024-10, the paper's 1,000,000 updates, ten seeds.",
            {"hidden": [1024, 1024], "updates": 1_000_000, "seeds": 10},
        ),
    },
)
