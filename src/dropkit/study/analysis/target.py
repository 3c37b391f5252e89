"""Measure updates and seconds until a method is as good as the baseline at its best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from dropkit.study.analysis.stats import Estimate, t_interval
from dropkit.study.record import Measure, Run

Pair = tuple[Run, Run]


@dataclass(frozen=True)
class Target:
    """How soon a method is as good as the baseline at its best, on validation rows.

    The lowest cost of a run is partly due to luck: a method that equals the baseline reaches the
    baseline's lowest cost for only half of the seeds. So the target of seed s is an estimate of the
    baseline's lowest cost without luck:

    (b_s + m_s)/2 + (median of b − m over the other seeds)/2,

    Here b_s and m_s are the lowest costs of the baseline and the method for seed s. The target is
    limited to the range between b_s and m_s. Runs of the method and the baseline have the same
    target. If a run does not reach the target, its updates until the target are its whole budget,
    or the baseline's budget if that is larger. So the means below are *restricted means*: for a
    method that equals the baseline, their ratio is 1, apart from chance.

    A run can only reach the target at the end of an epoch. A diverged run does not reach the
    target.

    Attributes:
        seeds: number of runs for which the baseline's run with the same seed finished and has
            validation values.
        reached: number of these runs that reached the target.
        baseline_reached: number of the baseline's runs that reached the target.
        updates: mean updates until the target, divided by the baseline's mean; ``None`` without
            validation values.
        seconds: the same ratio for seconds of training, without evaluation.
    """

    seeds: int
    reached: int
    baseline_reached: int
    updates: Estimate | None
    seconds: Estimate | None


@dataclass(frozen=True)
class _Curve:
    """The cost of a run after each epoch, with the updates and seconds until then."""

    costs: tuple[float | None, ...]
    steps: tuple[float, ...]
    seconds: tuple[float, ...]
    finished: bool

    @property
    def best(self) -> float | None:
        """The lowest cost; ``None`` for a diverged run."""
        if not self.finished:
            return None
        return min((cost for cost in self.costs if cost is not None), default=None)

    def first_epoch(self, level: float) -> int | None:
        """Return the first epoch, from 0, whose cost is at most ``level``."""
        if not self.finished:
            return None
        slack = 1e-9 * abs(level)
        epochs = enumerate(self.costs)
        return next((i for i, c in epochs if c is not None and c <= level + slack), None)


def measure_target(pairs: Sequence[Pair], measure: Measure) -> Target:
    """Measure when the first run of each pair is as good as the second, a baseline run, at best.

    The second run of every pair must have finished.
    """
    curves = [(_read_curve(run, measure), _read_curve(base, measure)) for run, base in pairs]
    curves = [(ours, theirs) for ours, theirs in curves if theirs.best is not None]
    epochs = [
        (ours.first_epoch(level), theirs.first_epoch(level))
        for (ours, theirs), level in zip(curves, _set_levels(curves), strict=True)
    ]
    updates = [
        (_restrict(ours.steps, i, theirs.steps), _restrict(theirs.steps, j))
        for (ours, theirs), (i, j) in zip(curves, epochs, strict=True)
    ]
    seconds = [
        (_restrict(ours.seconds, i, theirs.seconds), _restrict(theirs.seconds, j))
        for (ours, theirs), (i, j) in zip(curves, epochs, strict=True)
        if ours.seconds and theirs.seconds  # older results have no seconds per epoch
    ]
    return Target(
        seeds=len(curves),
        reached=sum(i is not None for i, _ in epochs),
        baseline_reached=sum(j is not None for _, j in epochs),
        updates=_divide_means(updates),
        seconds=_divide_means(seconds),
    )


def _read_curve(run: Run, measure: Measure) -> _Curve:
    costs = tuple(None if value is None else measure.cost(value) for value in run.curve.val_value)
    finished = run.status == "finished"
    return _Curve(costs, tuple(map(float, run.curve.step)), run.timing.epochs, finished)


def _set_levels(curves: Sequence[tuple[_Curve, _Curve]]) -> list[float]:
    """Return the target of every seed; if the method has no costs, the baseline's lowest cost."""
    bests = [(ours.best, theirs.best) for ours, theirs in curves]
    gains = [None if m is None or b is None else b - m for m, b in bests]
    levels = []
    for place, (mine, base) in enumerate(bests):
        assert base is not None, "curves without a number are left out"
        others = [g for i, g in enumerate(gains) if i != place and g is not None]
        shift = median(others) / 2 if others else 0.0
        mine = base if mine is None else mine
        middle = (base + mine) / 2 + shift
        levels.append(min(max(middle, min(base, mine)), max(base, mine)))
    return levels


def _restrict(spent: Sequence[float], epoch: int | None, other: Sequence[float] = ()) -> float:
    """Return the amount spent until an epoch; for ``None``, the larger of both runs' budgets."""
    return spent[epoch] if epoch is not None else max((spent[-1], *other[-1:]))


def _divide_means(spent: Sequence[tuple[float, float]]) -> Estimate | None:
    """Return the ratio of two means with its 95 % interval over the seeds, to first order."""
    ours, theirs = np.array(spent, dtype=np.float64).reshape(-1, 2).T
    level = theirs.mean() if len(theirs) else 0.0
    if level <= 0:
        return None
    ratio = ours.mean() / level
    return t_interval(ratio + (ours - ratio * theirs) / level)
