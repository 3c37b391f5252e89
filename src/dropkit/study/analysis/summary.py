"""`Results` → the numbers of each method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dropkit.study.analysis.stats import Estimate, crossed_interval, holm, paired_test, t_interval
from dropkit.study.analysis.target import first
from dropkit.study.record.results import Results, Run, Scores, unpack_rows


@dataclass(frozen=True)
class Target:
    """When a method reached the validation loss that the baseline has at its best.

    ``steps`` is the median over the seeds in which the baseline finished, at the resolution of
    one epoch. A seed that never reached it, or diverged, counts as infinitely late: ``None``
    unless more than half did. ``reached`` of ``of`` seeds did.
    """

    steps: float | None
    reached: int
    of: int


@dataclass(frozen=True)
class MethodSummary:
    """One method over all seeds; every estimate has a 95 % interval over the seeds.

    Errors are fractions for classification and in the target's units for regression. Pairs
    whose run, or whose baseline's run, diverged are left out of what compares them, and counted
    in ``diverged``.

    Attributes:
        error: test error.
        difference: test error minus the baseline's of the same seed.
        p: of the paired t-test; ``p_holm`` corrected for the number of methods compared.
        new_rows: the difference once more, with an interval for other test rows as well.
        gap: test error minus training error.
        loss: test loss, the negative log-likelihood for classification.
        calibration: expected calibration error.
        target: steps to the baseline's best validation loss.
        step_ratio, time_ratio: seconds per step and in total, as ratios to the baseline's run of
            the same seed, median over the seeds in which both finished.
        seconds: median of the total over finished runs.
    """

    method: str
    runs: int
    diverged: int
    error: Estimate | None
    difference: Estimate | None
    p: float | None
    p_holm: float | None
    new_rows: Estimate | None
    gap: Estimate | None
    loss: Estimate | None
    calibration: Estimate | None
    target: Target | None
    step_ratio: float | None
    time_ratio: float | None
    seconds: float | None


def summarize(results: Results) -> tuple[MethodSummary, ...]:
    """The numbers of every method, in the order of ``results.methods``."""
    baseline = {run.seed: run for run in results.of(results.baseline)}
    summaries = [_summary(results, method, baseline) for method in results.methods]
    compared = [summary for summary in summaries if summary.method != results.baseline]
    corrected = holm([summary.p for summary in compared])
    p_of = {s.method: p for s, p in zip(compared, corrected, strict=True)}
    return tuple(replace(summary, p_holm=p_of.get(summary.method)) for summary in summaries)


def _summary(results: Results, method: str, baseline: dict[int, Run]) -> MethodSummary:
    runs = results.of(method)
    finished = [run for run in runs if run.status == "finished"]
    both = [
        (run, base)
        for run in finished
        if (base := baseline.get(run.seed)) is not None and base.status == "finished"
    ]
    pairs = both if method != results.baseline else []
    differences = [_test(run).error - _test(base).error for run, base in pairs]
    return MethodSummary(
        method=method,
        runs=len(runs),
        diverged=len(runs) - len(finished),
        error=_over(finished, lambda run: _test(run).error),
        difference=t_interval(differences) if differences else None,
        p=paired_test(differences) if differences else None,
        p_holm=None,
        new_rows=_new_rows(results, pairs) if pairs else None,
        gap=_over(finished, _gap),
        loss=_over(finished, lambda run: _test(run).loss),
        calibration=_calibration(finished),
        target=_target(runs, baseline),
        step_ratio=_ratio(both, lambda run: run.timing.seconds_per_step),
        time_ratio=_ratio(both, lambda run: run.timing.seconds),
        seconds=median(run.timing.seconds for run in finished) if finished else None,
    )


def _test(run: Run) -> Scores:
    assert run.test is not None, "a finished run has test scores"
    return run.test


def _gap(run: Run) -> float:
    assert run.train is not None, "a finished run has training scores"
    return _test(run).error - run.train.error


def _calibration(runs: list[Run]) -> Estimate | None:
    values = [value for run in runs if (value := _test(run).calibration) is not None]
    return t_interval(values) if values else None


def _over(runs: list[Run], value: Callable[[Run], float]) -> Estimate | None:
    return t_interval([value(run) for run in runs]) if runs else None


def _new_rows(results: Results, pairs: list[tuple[Run, Run]]) -> Estimate | None:
    """The difference with the sampling of test rows counted.

    The root mean squared error r is no mean over rows, but r = mean((e/r + r)/2) over squared
    errors e, and the spread of those terms is that of r to first order (delta method).
    """
    count, task = results.data.rows_test, results.data.task
    matrix = np.empty((len(pairs), count))
    for differences, pair in zip(matrix, pairs, strict=True):
        if any(run.row_errors is None for run in pair):
            return None
        ours, base = (unpack_rows(run.row_errors or "", task, count) for run in pair)
        if task == "regression":
            ours, base = _root_terms(ours), _root_terms(base)
        np.subtract(ours, base, out=differences)
    return crossed_interval(matrix)


def _root_terms(squared: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    root = math.sqrt(squared.mean())
    return (squared / root + root) / 2 if root > 0 else squared


def _target(runs: tuple[Run, ...], baseline: dict[int, Run]) -> Target | None:
    steps: list[float] = []
    for run in runs:
        base = baseline.get(run.seed)
        if base is None or base.status == "diverged":
            continue
        best = [loss for loss in base.curve.val_loss if loss is not None]
        if best:
            reached = first(run.curve.val_loss, min(best)) if run.status == "finished" else None
            steps.append(math.inf if reached is None else run.curve.step[reached])
    if not steps:
        return None
    middle = median(steps)
    found = sum(map(math.isfinite, steps))
    return Target(middle if math.isfinite(middle) else None, found, len(steps))


def _ratio(pairs: list[tuple[Run, Run]], seconds: Callable[[Run], float]) -> float | None:
    ratios = [seconds(run) / seconds(base) for run, base in pairs if seconds(base) > 0]
    return median(ratios) if ratios else None


def to_frame(results: Results) -> pd.DataFrame:
    """The summary as a table, one row per method, intervals as ``_low`` and ``_high`` columns."""
    rows = []
    for summary in summarize(results):
        row: dict[str, Any] = {
            "method": summary.method,
            "runs": summary.runs,
            "diverged": summary.diverged,
        }
        for name in ("error", "difference", "new_rows", "gap", "loss", "calibration"):
            estimate: Estimate | None = getattr(summary, name)
            row[name] = estimate.mean if estimate else None
            row[f"{name}_low"] = estimate.low if estimate else None
            row[f"{name}_high"] = estimate.high if estimate else None
        row |= {
            "p": summary.p,
            "p_holm": summary.p_holm,
            "steps_to_target": summary.target.steps if summary.target else None,
            "reached_target": summary.target.reached if summary.target else 0,
            "step_ratio": summary.step_ratio,
            "time_ratio": summary.time_ratio,
            "seconds": summary.seconds,
        }
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")
