"""Write the verdict over several data sets."""

from __future__ import annotations

from collections.abc import Iterator

from dropkit.study.analysis.family import SIGNIFICANCE
from dropkit.study.analysis.sets import MethodOverSets, SetDifference, SetsAnalysis
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.verdict import Verdict
from dropkit.study.analysis.words import (
    choose_verb,
    format_difference,
    format_interval,
    format_value,
    state_p,
)


def judge_sets(found: SetsAnalysis) -> Verdict:
    """State which method is significantly better over the data sets, if any.

    With enough data sets, a method differs *significantly* if its Holm-corrected p-value of
    Wilcoxon's signed-rank test is below 0.05. With fewer data sets, this test can never be
    significant. Then each data set is tested separately, corrected for all methods and data sets.
    """
    if found.are_few:
        return Verdict(_write_few_headline(found), tuple(_write_few_details(found)))
    return Verdict(_write_headline(found), tuple(_write_details(found)))


def _better_and_worse(
    found: SetsAnalysis,
) -> tuple[list[MethodOverSets], list[MethodOverSets], list[MethodOverSets]]:
    compared = [each for each in found.summaries if each.method != found.baseline]
    base = next(each.rank for each in found.summaries if each.method == found.baseline)
    significant = [each for each in compared if each.is_significant]
    better = [each for each in significant if _is_gain(found, each, base)]
    worse = [each for each in significant if each not in better]
    return better, worse, [each for each in compared if not each.is_significant]


def _is_gain(found: SetsAnalysis, each: MethodOverSets, base: float) -> bool:
    assert each.difference is not None, "only methods that were compared are significant"
    return found.measure.cost(each.difference.mean) < 0 or (
        each.difference.mean == 0 and each.rank < base
    )


def _write_headline(found: SetsAnalysis) -> str:
    better, worse, left = _better_and_worse(found)
    count, label = len(found.analyses), found.measure.label
    if better:
        return f"{better[0].method} {_describe_effect(found, better[0])}"
    if worse and not left:
        if len(worse) == 1:
            return f"{worse[0].method} {_describe_effect(found, worse[0])}"
        verb = choose_verb(found.measure, better=False)
        return f"Every method {verb} the {label} over {count} data sets"
    if worse:
        verb = choose_verb(found.measure, better=True)
        return f"No method {verb} the {label} significantly over {count} data sets"
    return f"No method differs significantly from the baseline over {count} data sets"


def _write_details(found: SetsAnalysis) -> Iterator[str]:
    better, worse, left = _better_and_worse(found)
    if better:
        rivals = [each for each in better[1:] + left if not _differ(found, better[0], each)]
        if rivals:
            names = ", ".join(each.method for each in rivals)
            yield f"Not significantly different from {better[0].method}: {names}."
        for each in better[1:]:
            if each not in rivals:
                yield f"{each.method} {_describe_effect(found, each)}."
    for each in worse:
        yield f"{each.method} {_describe_effect(found, each)}."
    if not better and left:
        most = min(left, key=lambda each: 1.0 if each.p is None else each.p)
        assert most.difference is not None, "the baseline is not among those compared"
        p = "no p-value" if most.p_holm is None else f"Holm-corrected {state_p(most.p_holm)}"
        yield (f"The clearest difference is that of {most.method}, {p}.")
    if found.friedman and found.critical_difference:
        yield (
            f"Friedman's test for any difference between the {len(found.summaries)} methods: "
            f"{state_p(found.friedman.p)}. Mean ranks that differ by less than "
            f"{found.critical_difference:.2f} do not differ significantly (Nemenyi)."
        )


def _describe_effect(found: SetsAnalysis, each: MethodOverSets) -> str:
    assert each.difference is not None, "only methods that were compared have an effect"
    assert each.p_holm is not None, "only what has a p-value is significant"
    mean = each.difference.mean
    raises = mean > 0 if mean else (each.better > each.worse) == found.measure.higher_is_better
    size = each.difference if mean > 0 else -each.difference
    # The claim is the p-value: ranks can differ even if the interval of the median touches zero.
    return (
        f"{'raises' if raises else 'lowers'} the {found.measure.label} over "
        f"{len(found.analyses)} data sets, by {_describe_median(found, size)} against the baseline "
        f"(better on {each.better}, worse on {each.worse}; {state_p(each.p_holm)})"
    )


def _describe_median(found: SetsAnalysis, difference: Estimate, *, signed: bool = False) -> str:
    shown = format_difference(difference, found.measure, signed=signed)
    return f"a median of {shown} {format_interval(difference, found.measure)}"


def _differ(found: SetsAnalysis, best: MethodOverSets, other: MethodOverSets) -> bool:
    p = found.compare(best.method, other.method)
    return p is not None and p < SIGNIFICANCE


def _write_few_headline(found: SetsAnalysis) -> str:
    count = len(found.analyses)
    if all(each.p_holm is None for each in found.differences):
        if all(each.difference.n < 2 for each in found.differences):
            return (
                f"One run on each of {count} data sets cannot distinguish a difference from "
                f"chance: add runs, or use {found.needed} or more data sets"
            )
        return (
            "On every data set, the runs vary too little for a test: add runs, or use "
            f"{found.needed} or more data sets"
        )
    counts = {each.method: _count_significant(found, each.method) for each in found.summaries}
    best = max(counts, key=lambda method: counts[method][0] - counts[method][1])
    gains, losses = counts[best]
    verb = choose_verb(found.measure, better=True)
    if gains:
        opposite = choose_verb(found.measure, better=False)
        but = f", but {opposite} it on {losses}" if losses else ""
        return (
            f"{best} {verb} the {found.measure.label} significantly on {gains} of {count} data "
            f"sets{but}"
        )
    if any(losses for _, losses in counts.values()):
        return f"No method {verb} the {found.measure.label} significantly on any data set"
    return f"No method differs significantly from the baseline on any of {count} data sets"


def _write_few_details(found: SetsAnalysis) -> Iterator[str]:
    for each in found.differences:
        if each.is_significant:
            mean = each.difference.mean
            size = each.difference if mean > 0 else -each.difference
            yield (
                f"On {each.dataset}, {each.method} {'raises' if mean > 0 else 'lowers'} the "
                f"{found.measure.label} by {format_difference(size, found.measure)} "
                f"{format_interval(size, found.measure)}."
            )
    count = len(found.analyses)
    yield (
        f"{count} data sets are too few for one test over all of them: at least {found.needed} are "
        "needed. So each data set is tested separately, and the p-values are corrected for the "
        "number of methods and data sets."
    )
    for summary in found.summaries:
        if summary.improvement is not None and summary.middle is not None:
            chance, middle = summary.improvement, summary.middle
            yield (
                f"A run of {summary.method} is better than a run of the baseline with probability "
                f"{chance.value:.2f} [{chance.low:.2f}, {chance.high:.2f}]. Without the best and "
                f"the worst quarter of each method's runs, the mean {found.measure.label} of "
                f"{summary.method} {_compare_means(found, middle.value)} the baseline's."
            )


def _compare_means(found: SetsAnalysis, cost: float) -> str:
    """Write how much higher or lower a mean is than another, given the difference of the costs."""
    if not cost:
        return "equals"
    side = "higher" if (cost > 0) != found.measure.higher_is_better else "lower"
    points = " points" if found.measure.percent else ""
    return f"is {format_value(abs(cost), found.measure)}{points} {side} than"


def _count_significant(found: SetsAnalysis, method: str) -> tuple[int, int]:
    mine: list[SetDifference] = [
        each for each in found.differences if each.method == method and each.is_significant
    ]
    gains = sum(found.measure.cost(each.difference.mean) < 0 for each in mine)
    return gains, len(mine) - gains
