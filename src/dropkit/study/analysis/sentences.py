"""Write the sentences of a verdict from the findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dropkit.study.analysis.cost import estimate_seconds, format_seconds
from dropkit.study.analysis.findings import Findings
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary, choose_claim
from dropkit.study.analysis.words import (
    SHARE,
    count_repetitions,
    format_difference,
    format_interval,
    format_value,
    name_choices,
    name_repetitions,
)

COSTLY = 1.5


def describe_effect(found: Findings, summary: MethodSummary, *, name: str = "") -> str:
    """Describe the effect of a method that differs significantly."""
    claim = summary.claim if summary.is_significant else summary.claim_here
    assert claim is not None, "a method that differs significantly has a claim"
    measure, estimate = found.measure, claim.estimate
    verb, size = ("lowers", -estimate) if estimate.mean < 0 else ("raises", estimate)
    shown = f"{format_difference(size, measure)} {format_interval(size, measure)}"
    effect = f"{name or summary.method} {verb} the {measure.label} by {shown} against the baseline"
    return effect + limit_to_rows(found, summary) + describe_cost(summary)


def limit_to_rows(found: Findings, *summaries: MethodSummary) -> str:
    """Return the words that limit a claim to these test rows, if needed."""
    rows = found.record.data.rows_test
    if (
        not rows
        or found.record.overlap
        or (found.has_rows and all(summary.is_significant for summary in summaries))
    ):
        return ""
    return f" on these {rows:,} test rows"


def describe_cost(summary: MethodSummary) -> str:
    """Describe the cost of a method, if it is at least 1.5 times the baseline's."""
    updates, time = summary.updates_ratio or 1.0, summary.time_ratio or 1.0
    if updates >= COSTLY:
        return f", with {updates:.1f} times the updates"
    return f", in {time:.1f} times the time" if time >= COSTLY else ""


def describe_reach(found: Findings, best: MethodSummary) -> str:
    """Describe what the interval of the best method accounts for."""
    widened = (
        f" The interval is widened because {best.method} was chosen as the best of {found.family} "
        "methods."
        if found.family > 1
        else ""
    )
    choice = f"the choice of {name_choices(found.record, has_rows=found.has_rows)}"
    if found.record.overlap:
        return f"The 95 % interval accounts for {choice}.{widened}"
    if not found.has_rows:
        return (
            f"The 95 % interval accounts for {choice}, but not of test or training data.{widened}"
        )
    if best.is_significant:
        return f"The 95 % interval accounts for {choice}, but not of training data.{widened}"
    estimate = best.claim.estimate if best.claim else None
    if estimate is None or estimate.low is None:
        return f"Too few runs finished to say whether {best.method} helps on new rows."
    gain = estimate if found.measure.higher_is_better else -estimate
    bounds = format_interval(gain, found.measure)
    if estimate.low < 0 < (estimate.high or 0.0):
        bounds += " and includes zero"
    return (
        f"Accounting for {choice}, the 95 % interval is {bounds}: "
        f"{best.method} may not help on new rows.{widened}"
    )


def describe_fit(found: Findings) -> str:
    """State that the baseline does not overfit."""
    excess = found.baseline.excess_loss
    assert excess is not None, "only losses show whether the baseline overfits"
    side, share = ("lower", excess) if excess.mean >= 0 else ("higher", -excess)
    size = f"{format_value(share.mean, SHARE, within=share)} % {format_interval(share, SHARE)}"
    fact = f"training loss is {size} {side} than its test loss"
    if found.better or found.better_here:
        return (
            f"The baseline does not overfit: its {fact}. The gain may come from something other "
            "than regularization."
        )
    return f"The baseline's {fact}."


def describe_largest_open(found: Findings, summary: MethodSummary) -> str:
    """Describe the largest difference that is not significant, and why it is not."""
    estimate, measure = summary.difference, found.measure
    assert estimate is not None
    if summary.is_identical:
        return f"{summary.method} and the baseline made the same errors in every run."
    claim, shown = choose_claim(summary), None
    if estimate.n == 1:
        why = ", from a single pair of runs"
    elif estimate.low is None:
        each = "seed" if found.record.folds is None else "fold"
        if estimate.mean == 0:
            label = measure.label
            return f"{summary.method} and the baseline have the same {label} for every {each}."
        why = (
            f". The difference is identical for every {each}, so its variation cannot be "
            "estimated: use more test rows"
        )
    elif claim is not None and claim.estimate.low is None:
        why = f", with too few {name_repetitions(found.record)} for an interval"
    else:
        shown = claim.estimate if claim else estimate
        why = "; the interval includes zero"
        if estimate.excludes_zero:
            why += _explain_widening(found)
    size = format_difference(estimate, measure, signed=True)
    if shown is not None:
        size += f" {format_interval(shown, measure)}"
    side = " (worse)" if measure.cost(estimate.mean) > 0 else " (better)"
    side = side if estimate.mean else ""
    return f"The largest non-significant difference is {size} for {summary.method}{side}{why}."


def _explain_widening(found: Findings) -> str:
    """Name what makes an interval include zero, although the interval over the seeds does not."""
    reasons = []
    if found.has_rows and not found.record.overlap:
        reasons.append("accounts for the choice of test rows")
    if found.family > 1:
        reasons.append(f"is corrected for all {found.family} methods")
    return f" when it {' and '.join(reasons)}" if reasons else ""


def describe_power(found: Findings) -> Iterator[str]:
    """State which difference these seeds detect, and how many seeds a smaller one needs."""
    plan = found.plan
    if plan is None or plan.detectable == 0:
        return
    find = format_difference(Estimate(plan.detectable, None, None, 1), found.measure)
    rows = "rows" if found.record.overlap else "test rows"
    seeds = _count(found, plan.seeds)
    line = f"With {seeds}, a study finds a true difference of {find} with 80 % probability."
    if plan.aim is not None:
        aim = format_difference(Estimate(plan.aim, None, None, 1), found.measure)
        more = name_repetitions(found.record)
        if plan.needed is None:
            line += (
                f" With these {rows}, no number of {more} finds {aim}, the smallest difference "
                "that matters."
            )
        else:
            line += (
                f" Finding {aim}, the smallest difference that matters, takes about "
                f"{_count(found, plan.needed)}."
            )
    yield line
    if not (found.better or found.better_here) and found.largest_open is not None:
        yield from _describe_need(found, found.largest_open)


def _describe_need(found: Findings, summary: MethodSummary) -> Iterator[str]:
    """State how many seeds would detect a method's difference, and how long they take."""
    needed = None if found.is_negligible(summary) else found.count_needed(summary)
    done = 0 if summary.effect is None else summary.effect.seeds / (found.record.folds or 1)
    if needed is None or needed <= done:
        return
    seconds = estimate_seconds(found.record, needed)
    more = name_repetitions(found.record)
    time = (
        "" if seconds is None else f" The additional {more} take about {format_seconds(seconds)}."
    )
    yield (
        f"If the true difference of {summary.method} is as large as the observed one, "
        f"{_count(found, needed)} would find it with 80 % probability.{time}"
    )


def _count(found: Findings, repetitions: int) -> str:
    """Write a number of seeds or, with folds, of repetitions in words."""
    return count_repetitions(found.record, repetitions * (found.record.folds or 1))


def describe_history(found: Findings) -> Iterator[str]:
    """State the earlier looks and methods that intervals and p-values account for."""
    record = found.record
    seeds, noun = ", ".join(map(str, record.looks)), name_repetitions(record)
    if record.study.get("until_decided"):
        yield (
            f"{noun.capitalize()} are added until the verdict is certain. So far the study was "
            f"analyzed at {seeds} {noun}; intervals and p-values account for that."
        )
    elif len(record.looks) > 1:
        yield (
            f"The results were analyzed {len(record.looks)} times (at {seeds} {noun}): intervals "
            "and p-values account for that."
        )
    earlier = found.family - len(set(record.methods) - {record.baseline})
    if earlier > 0:
        yield (
            f"{earlier} other method{'s were' if earlier > 1 else ' was'} compared earlier in this "
            f"run folder: intervals and p-values are corrected for {found.family} methods."
        )


def join_names(summaries: Sequence[MethodSummary]) -> str:
    """Join the methods' names with commas."""
    return ", ".join(summary.method for summary in summaries)
