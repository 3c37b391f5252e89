"""Compute the numbers of each method."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean, median

from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.family import Claim, claim_all, estimate_alone
from dropkit.study.analysis.pairs import (
    fill_differences,
    have_equal_rows,
    measure_pair,
)
from dropkit.study.analysis.stats import Estimate, estimate
from dropkit.study.analysis.target import Target, measure_target
from dropkit.study.record import Record, Run
from dropkit.study.seeds import plan_looks


@dataclass(frozen=True)
class MethodSummary:
    """One method over all seeds; every estimate has a 95 % interval over the seeds.

    With folds, intervals of scores also account for the choice of training and test rows.

    Values are the study's measure, for example the error rate as a fraction, or the RMSE in the
    target's units. Comparisons leave out pairs in which a run diverged; ``diverged`` counts the
    diverged runs of the method.

    Attributes:
        value: the measure on the test rows.
        difference: the value minus the baseline's value for the same seed.
        effect: the difference, with its variance over seeds and its variance over test rows.
        claim: the significance test for other seeds and other test rows; if the errors of single
            test rows are unknown, only for other seeds.
        claim_here: the significance test for other seeds on the same test rows.
        filled: the difference if each diverged run is scored as a constant prediction; ``None`` if
            no run diverged.
        is_identical: whether the method's errors equal the baseline's on every test row for every
            seed.
        gap: the value on the test rows minus the value on the training rows.
        loss: test loss, the negative log-likelihood for classification.
        calibration: root mean squared calibration error, debiased; see `measure_calibration`.
        calibration_by_chance: the 95th percentile of the calibration error of calibrated networks
            with the same confidences, averaged over seeds; ``None`` if unknown.
        target: updates and seconds until the baseline's best validation value; see `Target`.
        step_ratio: seconds per update divided by the baseline's for the same seed, over the seeds
            for which both runs finished.
        time_ratio: the median ratio of total seconds to the baseline's.
        updates_ratio: the median ratio of updates to the baseline's.
        seconds: median total seconds of finished runs.
    """

    method: str
    runs: int
    diverged: int
    value: Estimate | None
    difference: Estimate | None
    effect: Effect | None
    claim: Claim | None
    claim_here: Claim | None
    filled: Estimate | None
    is_identical: bool
    gap: Estimate | None
    loss: Estimate | None
    calibration: Estimate | None
    calibration_by_chance: float | None
    target: Target
    step_ratio: Estimate | None
    time_ratio: float | None
    updates_ratio: float | None
    seconds: float | None

    @property
    def p(self) -> float | None:
        """The p-value of the claim, for this method alone."""
        return None if self.claim is None else self.claim.p

    @property
    def p_holm(self) -> float | None:
        """The p-value of the claim, corrected for the number of methods compared."""
        return None if self.claim is None else self.claim.p_holm

    @property
    def is_significant(self) -> bool:
        """Whether the method differs significantly from the baseline on new test rows."""
        return self.claim is not None and self.claim.is_significant

    @property
    def is_significant_here(self) -> bool:
        """Whether the method differs significantly, at least on these test rows."""
        here = self.claim_here is not None and self.claim_here.is_significant
        return here or self.is_significant


def choose_claim(summary: MethodSummary) -> Claim | None:
    """Return the test whose interval is shown: for new test rows if known, else for these rows."""
    for claim in (summary.claim, summary.claim_here):
        if claim is not None and claim.estimate.low is not None:
            return claim
    return summary.claim_here


def summarize(record: Record) -> tuple[MethodSummary, ...]:
    """Compute the numbers of every method, in the order of ``record.methods``."""
    summaries = [_summarize_method(record, method) for method in record.methods]
    effects = {s.method: s.effect for s in summaries if s.effect is not None}
    claims, claims_here = (
        dict(
            zip(
                effects,
                claim_all(
                    list(effects.values()),
                    family=count_compared(record),
                    looks=record.looks,
                    planned=_list_planned(record),
                    new_rows=new_rows,
                ),
                strict=True,
            )
        )
        for new_rows in (knows_rows(record), False)
    )
    return tuple(
        replace(s, claim=claims.get(s.method), claim_here=claims_here.get(s.method))
        for s in summaries
    )


def knows_rows(record: Record) -> bool:
    """Return whether runs share test rows and hold their errors or contributions."""
    return not record.overlap and any(run.rows is not None for run in record.runs)


def _list_planned(record: Record) -> tuple[int, ...]:
    """Return the planned numbers of seeds of a study with ``until_decided``."""
    study = record.study
    if not study.get("until_decided"):
        return ()
    return plan_looks(study["seeds"], study.get("max_seeds"))


def count_compared(record: Record) -> int:
    """Count the methods compared with the baseline, in this study and earlier ones."""
    return len({*record.methods, *record.compared} - {record.baseline})


def _summarize_method(record: Record, method: str) -> MethodSummary:
    runs = record.of(method)
    finished = [run for run in runs if run.status == "finished"]
    tests = [run.test for run in finished if run.test]
    calibrations = [test.miscalibration for test in tests if test.miscalibration is not None]
    chances = [max(0.0, c.by_chance) for c in calibrations if c.by_chance is not None]
    baseline = {run.seed: run for run in record.of(record.baseline) if run.status == "finished"}
    if not record.paired:
        baseline = {}
    paired = [(run, baseline[run.seed]) for run in runs if run.seed in baseline]
    both = [(run, base) for run, base in paired if run.status == "finished"]
    is_compared = method != record.baseline
    effect = measure_pair(record, method, record.baseline) if is_compared else None
    average = partial(estimate, overlap=record.overlap)
    total = _divide(both, lambda run: run.timing.seconds)
    updates = _divide(both, lambda run: float(run.steps))
    return MethodSummary(
        method=method,
        runs=len(runs),
        diverged=len(runs) - len(finished),
        value=average([test.value for test in tests]),
        difference=None if effect is None else estimate_alone(effect),
        effect=effect,
        claim=None,
        claim_here=None,
        filled=average(fill_differences(record, method) or []) if is_compared else None,
        is_identical=is_compared and have_equal_rows(record, method),
        gap=average([r.test.value - r.train.value for r in finished if r.test and r.train]),
        loss=average([test.loss for test in tests if test.loss is not None]),
        calibration=_take_root(average([each.squared for each in calibrations])),
        calibration_by_chance=math.sqrt(fmean(chances)) if chances else None,
        target=measure_target(paired, record.data.measure),
        step_ratio=estimate(_divide(both, lambda run: run.timing.seconds_per_step)),
        time_ratio=median(total) if total else None,
        updates_ratio=median(updates) if updates else None,
        seconds=median(run.timing.seconds for run in finished) if finished else None,
    )


def _take_root(squared: Estimate | None) -> Estimate | None:
    """Return the roots of an estimate of squares and of its bounds; negative numbers give 0."""
    if squared is None:
        return None
    mean, low, high = (
        None if value is None else math.sqrt(max(value, 0.0))
        for value in (squared.mean, squared.low, squared.high)
    )
    return Estimate(mean or 0.0, low, high, squared.n)


def _divide(pairs: list[tuple[Run, Run]], amount: Callable[[Run], float]) -> list[float]:
    return [amount(run) / amount(base) for run, base in pairs if amount(base) > 0]
