"""Which method helps, and how surely, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.stats import t_interval
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.welch import compare_unpaired
from dropkit.study.analysis.words import (
    SHARE,
    choose_verb,
    format_difference,
    format_interval,
    format_p,
    format_value,
)
from dropkit.study.record import Measure, Record


@dataclass(frozen=True)
class Verdict:
    """A first line, and the sentences that belong to it."""

    headline: str
    details: tuple[str, ...]


def judge(record: Record, summaries: Sequence[MethodSummary], baseline: Baseline) -> Verdict:
    """Say which method improves on the baseline, if any does significantly.

    A method differs *significantly* if its Holm-corrected paired p-value is below 0.05; its
    interval over the seeds then excludes zero. No word is stronger than the interval beside it: a
    gain that other test rows might not show is said to hold *on these test rows*.
    """
    cost = record.data.measure.cost
    known = sorted((s for s in summaries if s.difference is not None), key=lambda s: cost(_mean(s)))
    found = _Findings(
        record=record,
        baseline=baseline,
        better=[s for s in known if s.is_significant and cost(_mean(s)) < 0],
        worse=[s for s in known if s.is_significant and cost(_mean(s)) > 0],
        open=[s for s in known if not s.is_significant],
    )
    return Verdict(_write_headline(found), tuple(_write_details(found)))


@dataclass(frozen=True)
class _Findings:
    """The methods compared, by what can be said of them."""

    record: Record
    baseline: Baseline
    better: list[MethodSummary]
    worse: list[MethodSummary]
    open: list[MethodSummary]

    @property
    def all(self) -> list[MethodSummary]:
        return self.better + self.worse + self.open

    @property
    def measure(self) -> Measure:
        return self.record.data.measure


def _mean(summary: MethodSummary) -> float:
    assert summary.difference is not None, "only methods with pairs are compared"
    return summary.difference.mean


def _write_headline(found: _Findings) -> str:
    record = found.record
    runs = record.of(record.baseline)
    diverged = sum(run.status == "diverged" for run in runs)
    if len(record.methods) == 1:
        return f"Only {record.baseline} was run: there is nothing to compare it with"
    if diverged == len(runs):
        return "The baseline diverged in every run: nothing can be compared with it"
    if not found.all:
        return "Nothing can be compared: no method finished a run that the baseline finished too"
    if found.better:
        best = found.better[0]
        doubt = ""
        if best.diverged:
            doubt = f", but it diverged in {best.diverged} of {best.runs} runs"
        elif diverged:
            doubt = f", but the baseline diverged in {diverged} of {len(runs)} runs"
        return f"{best.method} {_describe_effect(found, best)}{doubt}"
    if len(runs) < 2:
        return "One seed cannot tell a difference from chance: run more seeds"
    pairs = max(s.difference.n for s in found.all if s.difference)
    if pairs < 2:
        return "One pair of finished runs cannot tell a difference from chance: run more seeds"
    if not found.baseline.has_learned:
        return "The baseline has not learned: regularization is not the remedy"
    if not found.baseline.overfits:
        return "The baseline does not overfit: regularization is not the remedy"
    improves, worsens = (choose_verb(found.measure, better=better) for better in (True, False))
    if found.worse and not found.open:
        if len(found.worse) == 1:
            return f"{found.worse[0].method} {_describe_effect(found, found.worse[0])}"
        finished = "" if len(found.worse) == len(record.methods) - 1 else " that finished"
        return f"Every method{finished} {worsens} the {found.measure.label}"
    if found.worse:
        return f"No method {improves} the {found.measure.label} significantly"
    return f"No method differs significantly from the baseline over {pairs} seeds: run more seeds"


def _write_details(found: _Findings) -> Iterator[str]:
    if not found.baseline.overfits:
        yield _describe_fit(found)
    if found.better:
        best = found.better[0]
        yield from _describe_new_rows(found, best)
        rivals = [s for s in found.better[1:] + found.open if not _differ(found.record, best, s)]
        if rivals:
            yield f"Not significantly different from it: {', '.join(s.method for s in rivals)}."
        for summary in found.better[1:]:
            if summary not in rivals:
                yield f"{summary.method} {_describe_effect(found, summary)}."
    elif found.open:
        yield _describe_largest_open(found, max(found.open, key=lambda s: abs(_mean(s))))
    for summary in found.worse:
        yield f"{summary.method} {_describe_effect(found, summary)}."


def _describe_fit(found: _Findings) -> str:
    excess = found.baseline.excess_loss
    assert excess is not None, "without losses nothing shows that it does not overfit"
    side, share = ("lower", excess) if excess.mean >= 0 else ("higher", -excess)
    mean = format_value(share.mean, SHARE, within=share)
    size = f"{mean} % {format_interval(share, SHARE)}"
    fact = f"training loss is {size} {side} than its test loss"
    if found.better:
        return (
            f"The baseline does not overfit: its {fact}. The gain may come from something other "
            "than regularization, such as another learning rate."
        )
    return (
        f"The baseline's {fact}. A larger model, one that suits the data better, or longer "
        "training may help."
    )


def _describe_new_rows(found: _Findings, best: MethodSummary) -> Iterator[str]:
    if best.new_rows is None or best.new_rows.low is None:
        return
    gain = best.new_rows if found.measure.higher_is_better else -best.new_rows
    shown = format_interval(gain, found.measure)
    allowing = f"Allowing for the choice of test rows, the 95 % interval is {shown}"
    if _holds_on_new_rows(best):
        yield f"{allowing}."
    else:
        yield f"{allowing} and includes zero: only more test rows can show a gain on new data."


def _holds_on_new_rows(summary: MethodSummary) -> bool:
    return summary.new_rows is not None and summary.new_rows.excludes_zero


def _describe_largest_open(found: _Findings, summary: MethodSummary) -> str:
    """The largest difference that is not significant, with the reason why it is not."""
    estimate, measure = summary.difference, found.measure
    assert estimate is not None
    size = format_difference(estimate, measure, signed=True)
    if estimate.n == 1:
        why = "from its only pair of runs"
    elif estimate.low is None:
        if estimate.mean == 0:
            label = found.measure.label
            return f"{summary.method} and the baseline have the same {label} for every seed."
        why = "identical for every seed, so its variation cannot be estimated; use more test rows"
    else:
        size += f" {format_interval(estimate, measure)}"
        why = "an interval that includes zero"
        if estimate.excludes_zero:
            assert summary.p_holm is not None
            p = format_p(summary.p_holm)
            why = f"significant alone, but not among so many methods (Holm-corrected p = {p})"
    return f"The largest difference is that of {summary.method}: {size}, {why}."


def _describe_effect(found: _Findings, summary: MethodSummary) -> str:
    """What a method does to the measure: only for one that differs significantly."""
    estimate, data = summary.difference, found.record.data
    assert estimate is not None
    verb, size = ("lowers", -estimate) if estimate.mean < 0 else ("raises", estimate)
    shown = f"{format_difference(size, data.measure)} {format_interval(size, data.measure)}"
    effect = f"{verb} the {found.measure.label} by {shown} against the baseline"
    if data.rows_test and not _holds_on_new_rows(summary):
        effect += f" on these {data.rows_test:,} test rows"
    return effect


def _differ(record: Record, best: MethodSummary, other: MethodSummary) -> bool:
    """Whether two methods differ by themselves, over the seeds in which both finished."""
    if not record.paired:
        found = compare_unpaired(record, other.method, best.method)
        return found is not None and found.difference.excludes_zero
    values = {run.seed: run.test.value for run in record.of(other.method) if run.test}
    differences = [
        values[run.seed] - run.test.value
        for run in record.of(best.method)
        if run.test and run.seed in values
    ]
    return bool(differences) and t_interval(differences).excludes_zero
