"""Write the verdict: which method helps, and how certain that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropkit.study.analysis.advice import NOTHING, NextStep, suggest
from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.falling import can_search_epochs, find_falling
from dropkit.study.analysis.findings import Findings, Plan, sort_findings
from dropkit.study.analysis.gate import find_failure
from dropkit.study.analysis.sentences import (
    describe_effect,
    describe_fit,
    describe_history,
    describe_largest_open,
    describe_power,
    describe_reach,
    join_names,
    limit_to_rows,
)
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.words import (
    choose_verb,
    count_repetitions,
    format_difference,
    is_from_command,
    name_repetitions,
)
from dropkit.study.record import Record

USUAL = 5
"""The number of seeds of a study by default."""

WORTH_RUNNING = 100
"""The largest number of seeds that the verdict suggests; differences that need more are small."""


@dataclass(frozen=True)
class Verdict:
    """A headline, detail sentences, and the next step.

    ``best`` is the method that the headline recommends, or empty. It is the best method that is
    significantly better than the baseline on new test rows by a difference that matters.
    """

    headline: str
    details: tuple[str, ...] = ()
    step: NextStep = NOTHING
    best: str = ""


def judge(record: Record, summaries: Sequence[MethodSummary], baseline: Baseline) -> Verdict:
    """State which method improves on the baseline significantly, if any.

    Problems that invalidate every comparison come first. Two tests are made: one generalizes to
    other seeds and other test rows, the other to other seeds only. A method differs *significantly*
    if the Holm-corrected p-value of the first test is below 0.05. If only that of the second test
    is below 0.05, the method differs *on these test rows*. A difference is not called significant
    if it is shown to be too small to matter.
    """
    if nothing := _find_nothing(record, summaries):
        return nothing
    if failure := find_failure(record, summaries, baseline):
        return Verdict(failure.headline, failure.details, failure.step)
    found = sort_findings(record, summaries, baseline)
    headline, step = _conclude(found)
    is_recommended = found.best is not None and not found.is_negligible(found.best)
    best = found.best.method if found.best is not None and is_recommended else ""
    step = _ask_for_epochs(record, is_recommended=is_recommended) or step
    return Verdict(headline, tuple(_write_details(found)), step, best)


def _find_nothing(record: Record, summaries: Sequence[MethodSummary]) -> Verdict | None:
    """Return the verdict if nothing can be compared, otherwise ``None``."""
    runs = record.of(record.baseline)
    if len(record.methods) == 1:
        return Verdict(
            f"Only the baseline ({record.baseline}) was run: there is nothing to compare it with",
            step=suggest(record, "Compare it with a method.", methods=f"{record.baseline},dropout"),
        )
    lower = {}
    if isinstance(rate := record.study.get("lr"), float):
        lower["lr"] = f"{rate / 10:g}"
    step = suggest(record, "Lower the learning rate.", **lower)
    if all(run.status == "diverged" for run in runs):
        return Verdict(
            "The baseline diverged in every run: nothing can be compared with it", step=step
        )
    if not any(s.difference for s in summaries):
        return Verdict(
            "Nothing can be compared: no seed has finished runs of both the baseline and a method",
            step=step,
        )
    return None


def _conclude(found: Findings) -> tuple[str, NextStep]:
    """Return the headline and the next step."""
    record, measure = found.record, found.measure
    best = found.best
    if all(map(found.is_negligible, found.all)):
        return _dismiss(found)
    if best is not None and not found.is_negligible(best):
        return _recommend(found, best)
    if best is None and found.better_here:
        return _ask_for_rows(found, found.better_here[0])
    pairs = max(s.difference.n for s in found.all if s.difference)
    if pairs < 2:
        some = "One seed" if len(record.of(record.baseline)) < 2 else "One pair of finished runs"
        more = name_repetitions(record)
        return (
            f"{some} cannot distinguish a difference from chance: run more {more}",
            suggest(record, f"Run more {more}.", seeds=USUAL),
        )
    improves, worsens = (choose_verb(measure, better=better) for better in (True, False))
    if not found.baseline.overfits:
        return (
            "The baseline does not overfit: regularization is not the remedy",
            NextStep(
                "Use a larger model or one that suits the data better, or train longer. Compare "
                "regularizers once the training loss is clearly below the test loss."
            ),
        )
    if found.worse and not found.open and not found.better:
        step = NextStep("Keep the baseline.")
        if len(found.worse) == 1:
            return describe_effect(found, found.worse[0]), step
        finished = "" if len(found.worse) == len(record.methods) - 1 else " that finished"
        rows = limit_to_rows(found, *found.worse)
        return f"Every method{finished} {worsens} the {measure.label}{rows}", step
    if found.better:
        return f"No method {improves} the {measure.label} by enough to matter", _ask_for_seeds(
            found
        )
    if found.worse:
        return f"No method {improves} the {measure.label} significantly", _ask_for_seeds(found)
    over = count_repetitions(record, pairs)
    return (
        f"No method differs significantly from the baseline over {over}",
        _ask_for_seeds(found),
    )


def _recommend(found: Findings, best: MethodSummary) -> tuple[str, NextStep]:
    record, runs = found.record, found.record.of(found.record.baseline)
    name = best.method
    if found.family > 1:
        name += f", the best of {found.family} methods,"
    headline = describe_effect(found, best, name=name)
    lost = sum(run.status == "diverged" for run in runs)
    if best.diverged:
        headline += f", but it diverged in {best.diverged} of {best.runs} runs"
        return headline, NextStep(f"Lower the learning rate before you use {best.method}.")
    if lost:
        headline += f", but the baseline diverged in {lost} of {len(runs)} runs"
        return headline, NextStep("Lower the learning rate, so that the baseline trains.")
    if found.is_small(best):
        assert found.threshold is not None
        size = format_difference(Estimate(found.threshold, None, None, 1), found.measure)
        headline += f"; a gain below {size} may not matter"
        return headline, NextStep(f"Use {best.method} if it costs you nothing.")
    if not record.command:
        return headline, NextStep(f"Use {best.method}.")
    if record.tuned:
        return headline, NextStep(f"Train with {best.method} and the tuned arguments.")
    methods = f"{record.baseline},{best.method}"
    text = (
        f"Train with {best.method}. To find its best arguments, tune it and the baseline equally."
    )
    return headline, suggest(record, text, methods=methods, tune=20)


def _ask_for_rows(found: Findings, best: MethodSummary) -> tuple[str, NextStep]:
    record = found.record
    text = "Use more test rows: there are too few to tell whether the gain holds for new rows."
    fraction = record.study.get("test_fraction")
    if record.study.get("test") or not isinstance(fraction, float) or fraction > 0.25:
        return describe_effect(found, best), NextStep(text)
    return describe_effect(found, best), suggest(record, text, test_fraction=0.4)


def _dismiss(found: Findings) -> tuple[str, NextStep]:
    """Return the headline and next step if no difference is large enough to matter."""
    if all(summary.is_identical for summary in found.all):
        return (
            f"No difference that matters: {join_names(found.all)} and the baseline made the same "
            "errors in every run",
            NextStep("Use stronger settings of the methods, or keep the baseline."),
        )
    assert found.threshold is not None, "an interval is compared with a threshold"
    size = format_difference(Estimate(found.threshold, None, None, 1), found.measure)
    which = f"{found.all[0].method} is" if len(found.all) == 1 else "every method is"
    return (
        f"No difference that matters: {which} within {size} of the baseline's "
        f"{found.measure.label}",
        NextStep("Keep the baseline."),
    )


def _ask_for_epochs(record: Record, *, is_recommended: bool) -> NextStep | None:
    """Return the step of training longer if more epochs may change the verdict.

    A method is recommended because it is better than the baseline. So its gain is safe unless the
    baseline needs more epochs. Without a recommendation, any method may need them.
    """
    falling = find_falling(record)
    is_safe = not falling or (is_recommended and record.baseline not in falling)
    if is_safe or not can_search_epochs(record):
        return None
    text = "Train longer first: the validation loss was still falling, so the verdict may change."
    return suggest(record, text, until_converged=True)


def _ask_for_seeds(found: Findings) -> NextStep:
    record, plan = found.record, found.plan
    more = name_repetitions(record)
    if plan is None:
        return suggest(record, f"Run more {more}.", seeds=max(USUAL, 2 * _count_seeds(found)))
    needed = _count_worth_running(found, plan)
    if needed is None:
        text = "Use more test rows" if record.folds is None else "Collect more rows"
        return NextStep(
            f"{text}, or keep the baseline: more {more} alone are unlikely to settle which is "
            "better."
        )
    larger = plan.aim is not None and plan.needed is None
    which = ", which may show a larger difference" if larger else ""
    text = f"Run more {more}{which}{_say_what_is_kept(record)}."
    option = "max_seeds" if record.study.get("until_decided") else "seeds"
    return suggest(record, text, **{option: max(needed, plan.seeds + 1)})


def _say_what_is_kept(record: Record) -> str:
    """Say that finished runs are kept, if dropkit ran them, and how."""
    if not record.command:
        return ""
    if is_from_command(record):
        return "; finished runs are kept"
    return "; with the same out=..., finished runs are kept"


def _count_worth_running(found: Findings, plan: Plan) -> int | None:
    """Return a number of seeds that may decide, or ``None`` if only more rows can.

    Best is a number that detects every difference that matters. If there is none, take one that
    detects the largest difference observed. Few runs cannot tell either number.
    """
    observed = None if found.largest_open is None else found.count_needed(found.largest_open)
    for needed in (plan.needed if plan.aim is not None else 2 * plan.seeds, observed):
        if needed is not None and needed <= WORTH_RUNNING:
            return needed
    return USUAL if len(found.record.of(found.record.baseline)) < USUAL else None


def _count_seeds(found: Findings) -> int:
    return len(found.record.of(found.record.baseline)) // (found.record.folds or 1)


def _write_details(found: Findings) -> Iterator[str]:
    if not found.baseline.overfits:
        yield describe_fit(found)
    best = found.best or next(iter(found.better_here), None)
    if all(map(found.is_negligible, found.all)):
        differ = found.better + found.better_here
        yield from (f"{describe_effect(found, summary)}." for summary in differ)
    elif best is not None:
        yield describe_reach(found, best)
        rivals = found.list_rivals(best)
        if rivals:
            yield f"Not significantly different from {best.method}: {join_names(rivals)}."
        for summary in found.better + found.better_here:
            if summary is not best and summary not in rivals:
                yield f"{describe_effect(found, summary)}."
    if found.largest_open is not None and best is None:
        yield describe_largest_open(found, found.largest_open)
    if len(found.worse) > 1 or best is not None or found.open:
        yield from (f"{describe_effect(found, summary)}." for summary in found.worse)
    yield from describe_power(found)
    yield from describe_history(found)
