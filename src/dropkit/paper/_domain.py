"""Other domains: train a net without dropout, with dropout, and with the paper's recipe."""

from __future__ import annotations

import statistics
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.paper._mnist import error
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of
from dropkit.paper._train import Protocol, authors, fit
from dropkit.paper._trainings import Settings, Train, Trainings
from dropkit.study import Study
from dropkit.study.analysis.stats import Estimate, t_interval
from dropkit.study.data import load
from dropkit.study.report.figures import INK
from dropkit.study.training.folds import Fold, make_fold

BASELINE = "without dropout"
DROPOUT = "dropout"
RECIPE = "dropout, the paper's recipe"
WAYS = (BASELINE, DROPOUT, RECIPE)


def protocol(way: str, updates: int, lr: float = 1.0) -> Protocol:
    """Return the paper's schedules for one of `WAYS`: `RECIPE` has ``lr`` and max-norm.

    The other ways have 0.3 · ``lr`` and no max-norm. On held-out MNIST images, the factor 0.3 works
    best for nets without dropout.
    """
    return (
        authors(updates, lr=lr) if way == RECIPE else authors(updates, lr=0.3 * lr, max_norm=None)
    )


@lru_cache(maxsize=1)
def rows_of(name: str, seed: int, data_dir: str | None) -> Fold:
    """Load a data set and preprocess it as `dropkit compare` does, for one seed."""
    data = load(name, data_dir=data_dir)
    return make_fold(data, Study(data=name), seed)


def train_net(net: nn.Sequential, rows: Fold, protocol: Protocol, seed: int) -> dict[str, float]:
    """Train on all rows except the test rows, and return the errors in %."""
    x = torch.cat([rows.x_train, rows.x_val])
    y = torch.cat([rows.y_train, rows.y_val])
    return train_on(net, (x, y), (rows.x_test, rows.y_test), protocol, seed)


def train_on(
    net: nn.Sequential,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    protocol: Protocol,
    seed: int,
) -> dict[str, float]:
    """Train on ``train``, and return the errors in % on ``test`` and ``train``."""
    for _ in fit(net, *train, protocol, seed=seed, at=(protocol.updates,)):
        pass
    return {"error": error(net, *test), "train_error": error(net, *train)}


def contest(
    trainings: Trainings, train: Train, settings: Settings, seeds: int, paper: str
) -> Outcome:
    """Train a net in every way with every seed; compare with the first way, the baseline.

    Args:
        trainings: runs the trainings.
        train: function of ``way``, ``seed`` and the settings; returns the errors.
        settings: additional arguments of ``train``; an entry ``ways`` replaces `WAYS`.
        seeds: number of seeds; ways are paired by seed.
        paper: what the paper found in its own domain.
    """
    ways = settings.get("ways", list(WAYS))
    cases = list(product(ways, range(seeds)))
    given = {key: value for key, value in settings.items() if key != "ways"}
    each = [given | {"way": way, "seed": seed} for way, seed in cases]
    found = dict(zip(cases, trainings.all(train, each), strict=True))
    errors = {way: [found[way, seed]["error"] for seed in range(seeds)] for way in ways}
    rows: list[Row] = []
    for way in ways:
        gain = _difference(errors[way], errors[ways[0]]) if way != ways[0] else None
        rows.append(
            {
                "training": way,
                "test error %": statistics.fmean(errors[way]),
                "±": _half(t_interval(errors[way])),
                "training error %": statistics.fmean(
                    found[way, seed]["train_error"] for seed in range(seeds)
                ),
                "difference, points": None if gain is None else gain.mean,
                "its ±": None if gain is None else _half(gain),
                "seeds": float(seeds),
            }
        )
    checks = [
        Check(
            f"{way}: difference to {ways[0]}, points",
            _difference(errors[way], errors[ways[0]]).mean,
            paper,
            high=0.0,
            full=True,
        )
        for way in ways[1:]
    ]
    return Outcome(rows, checks, _picture(errors))


def _difference(errors: list[float], baseline: list[float]) -> Estimate:
    return t_interval([a - b for a, b in zip(errors, baseline, strict=True)])


def _half(estimate: Estimate) -> float | None:
    return None if estimate.high is None else estimate.high - estimate.mean


def _picture(errors: dict[str, list[float]]) -> Any:
    figure, (axes,) = axes_of(6.0, 0.9 + 0.6 * len(errors))
    for place, (way, values) in enumerate(errors.items()):
        colour = WITHOUT if place == 0 else WITH
        estimate = t_interval(values)
        axes.plot(values, [-place] * len(values), "o", color=colour, alpha=0.4, markersize=4)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [-place] * 2, color=colour, linewidth=2)
        axes.plot(estimate.mean, -place, "o", color=colour, markersize=8)
        axes.annotate(
            way,
            (0, -place + 0.2),
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=9,
            verticalalignment="bottom",
        )
    axes.set_ylim(0.6 - len(errors), 0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test error, %: seeds, mean and 95 % interval")
    return figure
