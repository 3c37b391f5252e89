"""Which method helps, and how surely, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.stats import t_interval
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.words import amount, chance, interval, measure, number
from dropkit.study.record import Record


@dataclass(frozen=True)
class Verdict:
    """A first line, and what belongs to it."""

    headline: str
    details: tuple[str, ...]


@dataclass(frozen=True)
class _Findings:
    """The methods compared, by what can be said of them."""

    better: list[MethodSummary]
    worse: list[MethodSummary]
    open: list[MethodSummary]

    @property
    def all(self) -> list[MethodSummary]:
        return self.better + self.worse + self.open


def judge(record: Record, summaries: Sequence[MethodSummary], baseline: Baseline) -> Verdict:
    """Say which method lowers the test error, if any does detectably.

    A method *differs detectably* if its Holm-corrected paired p-value is below 0.05; its interval
    over the seeds then excludes zero. No word is stronger than the interval beside it: a gain that
    other test rows might not show is said to hold *on these test rows*.
    """
    known = [s for s in summaries if s.difference is not None]
    known.sort(key=_mean)
    findings = _Findings(
        better=[s for s in known if s.is_significant and _mean(s) < 0],
        worse=[s for s in known if s.is_significant and _mean(s) > 0],
        open=[s for s in known if not s.is_significant],
    )
    return Verdict(
        _headline(record, findings, baseline), tuple(_details(record, findings, baseline))
    )


def _mean(summary: MethodSummary) -> float:
    assert summary.difference is not None, "only methods with pairs are compared"
    return summary.difference.mean


def _headline(record: Record, found: _Findings, facts: Baseline) -> str:
    baseline, error = record.baseline, measure(record.data.task)
    runs = record.of(baseline)
    if len(record.methods) == 1:
        return f"only {baseline} was run: nothing to compare it with"
    if all(run.status == "diverged" for run in runs):
        return f"the baseline ({baseline}) diverged in every run: nothing can be compared with it"
    if not found.all:
        return f"nothing can be compared: no run finished together with {baseline}'s"
    if found.better:
        best = found.better[0]
        doubt = f", but diverged in {best.diverged} of {best.runs} runs" if best.diverged else ""
        lost = sum(run.status == "diverged" for run in runs)
        if lost and not doubt:
            doubt = f", which diverged in {lost} of {len(runs)} runs"
        return f"{best.method} {_effect(record, best, baseline)}{doubt}"
    if len(runs) < 2:
        return "one seed cannot tell a difference from luck: run more seeds"
    pairs = max(s.difference.n for s in found.all if s.difference)
    if pairs < 2:
        return "one pair of finished runs cannot tell a difference from luck: run more seeds"
    if not facts.has_learned:
        return f"the baseline ({baseline}) has not learned: regularizing is not the remedy"
    if not facts.overfits:
        return f"the baseline ({baseline}) does not overfit: regularizing is not the remedy"
    if found.worse and not found.open:
        if len(found.worse) == 1:
            return f"{found.worse[0].method} {_effect(record, found.worse[0], baseline)}"
        finished = "" if len(found.worse) == len(record.methods) - 1 else " that finished"
        return f"every method{finished} raises {error} against {baseline}"
    if found.worse:
        return f"no method lowers {error} detectably against {baseline}"
    return f"no method differs detectably from {baseline} over {pairs} seeds: more seeds needed"


def _details(record: Record, found: _Findings, facts: Baseline) -> Iterator[str]:
    yield from _about_the_baseline(record, found, facts)
    if found.better:
        best = found.better[0]
        yield from _about_new_rows(record, best)
        rivals = [s for s in found.better[1:] + found.open if not _apart(record, best, s)]
        if rivals:
            yield f"Not told apart from it: {', '.join(s.method for s in rivals)}."
        for summary in found.better[1:]:
            if summary not in rivals:
                yield f"{summary.method} {_effect(record, summary)}."
    elif found.open:
        yield _largest_open(record, max(found.open, key=lambda s: abs(_mean(s))))
    for summary in found.worse:
        yield f"{summary.method} {_effect(record, summary)}."


def _about_the_baseline(record: Record, found: _Findings, facts: Baseline) -> Iterator[str]:
    excess = facts.excess_loss
    if facts.overfits or excess is None:
        return
    side, share = ("below", excess) if excess.mean >= 0 else ("above", -excess)
    mean = number(share.mean, "classification", within=share)
    size = f"{mean} % {interval(share, 'classification')}"
    fact = f"{record.baseline}'s loss on training rows is {size} {side} that on test rows"
    if found.better:
        yield (
            f"The baseline does not overfit ({fact}), so what helps here may be something else "
            "than regularizing, such as another learning rate."
        )
    else:
        yield f"{fact}. A larger or better suited model, or longer training, may help."


def _about_new_rows(record: Record, best: MethodSummary) -> Iterator[str]:
    if best.new_rows is None or best.new_rows.low is None:
        return
    shown = interval(-best.new_rows, record.data.task)
    if _holds_on_new_rows(best):
        yield f"Counting that other test rows could have been drawn, the interval is {shown}."
    else:
        yield (
            f"Counting that other test rows could have been drawn, the interval is {shown} and "
            "includes zero: whether it helps on new data is not settled, and takes more test rows."
        )


def _holds_on_new_rows(summary: MethodSummary) -> bool:
    return summary.new_rows is not None and summary.new_rows.excludes_zero


def _largest_open(record: Record, summary: MethodSummary) -> str:
    """The largest difference that is not detectable, with the reason why it is not."""
    estimate, task = summary.difference, record.data.task
    assert estimate is not None
    if estimate.n == 1:
        size, why = amount(estimate, task, signed=True), "in its only pair of runs"
    elif estimate.low is None:
        if estimate.mean == 0:
            return f"Every finished run of {summary.method} erred exactly as {record.baseline} did."
        size = amount(estimate, task, signed=True)
        why = "in every seed alike, which leaves its spread unknown; more test rows would show it"
    else:
        size = f"{amount(estimate, task, signed=True)} {interval(estimate, task)}"
        why = "which includes zero"
        if estimate.excludes_zero:
            assert summary.p_holm is not None
            p = chance(summary.p_holm)
            why = f"detectable alone, but not among so many methods (Holm p = {p})"
    return f"The largest difference seen: {summary.method}, {size}, {why}."


def _effect(record: Record, summary: MethodSummary, against: str = "") -> str:
    """What a method does to the error: only for one that differs detectably."""
    estimate, task = summary.difference, record.data.task
    assert estimate is not None
    verb, size = ("lowers", -estimate) if estimate.mean < 0 else ("raises", estimate)
    effect = f"{verb} {measure(task)} by {amount(size, task)} {interval(size, task)}"
    if against:
        effect += f" against {against}"
    if not _holds_on_new_rows(summary):
        effect += f" on these {record.data.rows_test:,} test rows"
    return effect


def _apart(record: Record, best: MethodSummary, other: MethodSummary) -> bool:
    """Whether two methods differ by themselves, over the seeds in which both finished."""
    errors = {run.seed: run.test.error for run in record.of(other.method) if run.test}
    differences = [
        errors[run.seed] - run.test.error
        for run in record.of(best.method)
        if run.test and run.seed in errors
    ]
    return bool(differences) and t_interval(differences).excludes_zero
