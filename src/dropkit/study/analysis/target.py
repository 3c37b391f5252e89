"""Measure updates and seconds until a method is as good as the baseline's best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.study.analysis.stats import Estimate, estimate
from dropkit.study.record import Measure, Run


@dataclass(frozen=True)
class Target:
    """When one method's runs reach the best validation score of the baseline with the same seed.

    The baseline itself reaches it in the first epoch that has it, and the others in the first that
    has it or better. An epoch counts with all of its updates. A run that diverged does not reach
    it.

    Attributes:
        seeds: how many runs there are whose baseline finished.
        reached: how many of them reached the target.
        updates: updates until then, as a multiple of the baseline's until it did, over the
            seeds that reached it; ``None`` if there are none.
        seconds: likewise the seconds of training alone, without evaluation.
    """

    seeds: int
    reached: int
    updates: Estimate | None
    seconds: Estimate | None


def measure_target(pairs: Sequence[tuple[Run, Run]], measure: Measure) -> Target:
    """Return when the first run of each pair reached what the second, the baseline's, had at best.

    The second run of every pair must have finished.
    """
    updates, seconds = [], []
    for run, base in pairs:
        costs = _list_costs(base, measure)
        best = min((cost for cost in costs if cost is not None), default=None)
        if run.status != "finished" or best is None:
            continue
        i, j = _first_epoch(_list_costs(run, measure), best), _first_epoch(costs, best)
        if i is None or j is None:
            continue
        updates.append(run.curve.step[i] / base.curve.step[j])
        spent, allowed = run.timing.epochs[i:], base.timing.epochs[j:]
        if spent and allowed and allowed[0] > 0:  # old results have no seconds of epochs
            seconds.append(spent[0] / allowed[0])
    return Target(
        seeds=len(pairs),
        reached=len(updates),
        updates=estimate(updates),
        seconds=estimate(seconds),
    )


def _list_costs(run: Run, measure: Measure) -> list[float | None]:
    return [None if value is None else measure.cost(value) for value in run.curve.val_value]


def _first_epoch(costs: Sequence[float | None], level: float) -> int | None:
    """The first epoch, from 0, whose cost is at the level or below."""
    return next((i for i, cost in enumerate(costs) if cost is not None and cost <= level), None)
