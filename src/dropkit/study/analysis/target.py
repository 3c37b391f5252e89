"""Steps and seconds until a training is as good as the baseline ever was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.study.analysis.stats import Estimate, t_interval
from dropkit.study.record.results import Results, Run


@dataclass(frozen=True)
class Reach:
    """When one method's nets reached the baseline's best validation error.

    Args:
        method: the expression.
        seeds: how many trainings there are whose baseline did not diverge.
        reached: in how many of them the error was reached, by a training that did not diverge.
        steps: until then, as multiples of the baseline's steps to it, over those seeds; None if
            there are none.
        seconds: likewise, training alone.
        step: seconds of a step, as a multiple of the baseline's, over the seeds in which neither
            diverged; None without any.
        error: the final test error of the trainings that did not diverge; None if all did.
    """

    method: str
    seeds: int
    reached: int
    steps: Estimate | None
    seconds: Estimate | None
    step: Estimate | None
    error: Estimate | None


def reaches(results: Results) -> list[Reach]:
    """Return when every method reached the lowest validation error of the same seed's baseline.

    The baseline itself reached it in the first epoch that has it, and the others in the first that
    has it or less. An epoch counts with all of its steps.
    """
    plain = {run.seed: run for run in results.of(results.baseline) if run.status == "finished"}
    return [
        _reach(method, [(run, plain[run.seed]) for run in results.of(method) if run.seed in plain])
        for method in results.methods
    ]


def _reach(method: str, pairs: list[tuple[Run, Run]]) -> Reach:
    finished = [(run, base) for run, base in pairs if run.status == "finished"]
    found = [
        (run, epoch, base, first(base.curve.val_error, _best(base)))
        for run, base in finished
        if (epoch := first(run.curve.val_error, _best(base))) is not None
    ]
    steps = [run.curve.step[i] / base.curve.step[j or 0] for run, i, base, j in found]
    seconds = [
        run.timing.epochs[i] / base.timing.epochs[j or 0]
        for run, i, base, j in found
        if run.timing.epochs and base.timing.epochs  # results of before this was kept have none
    ]
    errors = [run.test.error for run, _ in finished if run.test]
    per_step = [a.timing.seconds_per_step / b.timing.seconds_per_step for a, b in finished]
    return Reach(
        method=method,
        seeds=len(pairs),
        reached=len(found),
        steps=t_interval(steps) if steps else None,
        seconds=t_interval(seconds) if seconds else None,
        step=t_interval(per_step) if per_step else None,
        error=t_interval(errors) if errors else None,
    )


def _best(run: Run) -> float:
    return min(error for error in run.curve.val_error if error is not None)


def first(curve: Sequence[float | None], level: float) -> int | None:
    """Return the first epoch, from 0, at which a curve is at the level or below."""
    reached = (i for i, value in enumerate(curve) if value is not None and value <= level)
    return next(reached, None)
