"""Check that methods can be compared: the data are valid and the networks have learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.study.analysis.advice import NextStep, inspect_command, suggest
from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.words import format_amount, name_constant, word_for
from dropkit.study.record import Record

RARE = 0.1

_IMBALANCE = {
    False: "The classes are imbalanced: {share} of the test rows belong to one class, so the error "
    "has little room for improvement. Add rows of the rarer class, or compare by AUC: {by_auc}.",
    True: "The labels are imbalanced: always predicting each label's most frequent value is right "
    "in {share} of all cases, so the error has little room for improvement. Add rows of the rarer "
    "labels, or compare by AUC: {by_auc}.",
}
"""The messages for imbalanced classes and, by the key ``True``, for imbalanced labels."""


@dataclass(frozen=True)
class Failure:
    """A failed check: the first line of the report, details, and the next step."""

    headline: str
    details: tuple[str, ...]
    step: NextStep


def find_failure(
    record: Record, summaries: Sequence[MethodSummary], baseline: Baseline
) -> Failure | None:
    """Return the first failed check, or ``None`` if methods can be compared."""
    data = record.data
    if data.doubts:
        first, *others = (word_for(record, doubt) for doubt in data.doubts)
        text = (
            "Look at how the data are read. Correct the reading or the data, then run the study "
            "again."
        )
        step = NextStep(text, inspect_command(record.command))
        return Failure(first, tuple(others), step)
    beat = [s for s in summaries if _beats_constant(record, s)]
    if data.constant_value is not None and not beat:
        return _describe_constant(record, baseline)
    if not baseline.has_learned:
        return _describe_unlearned(record, baseline, beat)
    return None


def _beats_constant(record: Record, summary: MethodSummary) -> bool:
    data = record.data
    if summary.value is None or data.constant_value is None:
        return False
    cost = data.measure.cost
    return cost(summary.value.mean) < cost(data.constant_value) - 1e-9 * abs(data.constant_value)


def _describe_constant(record: Record, baseline: Baseline) -> Failure:
    data = record.data
    constant = format_amount(data.constant_value or 0.0, data.measure)
    headline = (
        f"No method beats a constant prediction: the {data.measure.label} of always predicting "
        f"{name_constant(data.task)} is {constant}"
    )
    is_own = data.constant_train_value is None  # a user's own training
    details = []
    # Only the error of the constant prediction is a share of the rows.
    is_error = data.kind.has_probabilities and data.measure.name == "error"
    is_imbalanced = is_error and (data.constant_value or 1.0) < RARE
    if is_imbalanced:
        by_auc = 'study.Outcome(..., metric="auc")' if is_own else word_for(record, "--metric auc")
        share = format_amount(1 - (data.constant_value or 0.0), data.measure)
        details.append(_IMBALANCE[data.kind.is_several].format(share=share, by_auc=by_auc))
    if is_own:
        details.append("Look at the training losses: do the networks learn the training rows?")
        text = (
            "If the training losses stay high, train longer, or try another learning rate. If they "
            "fall, use inputs that say more about the target, or more rows."
        )
        step = suggest(record, text)
    elif baseline.has_learned:
        details.append("The networks fit the training rows but do not generalize to other rows.")
        more = "Add columns" if data.columns else "Use inputs"
        step = NextStep(f"{more} that say more about the target, and check for repeated rows.")
    else:
        details.append("The networks have not learned the training rows, either.")
        step = suggest(
            record, "Train longer, and try another learning rate.", **_more_training(record)
        )
    if is_imbalanced and not is_own:
        step = suggest(record, "Compare by AUC.", metric="auc")
    return Failure(headline, tuple(details), step)


def _describe_unlearned(
    record: Record, baseline: Baseline, beat: Sequence[MethodSummary]
) -> Failure:
    data = record.data
    best = min(beat, key=lambda s: data.measure.cost(s.value.mean if s.value else 0.0))
    assert best.value is not None, "a method that beats a constant has values"
    values = [
        format_amount(value, data.measure)
        for value in (baseline.value or 0.0, data.constant_value or 0.0, best.value.mean)
    ]
    headline = (
        f"The baseline has not learned, but {best.method} has: train longer or raise the "
        "learning rate to compare them"
    )
    detail = (
        f"The {data.measure.label} is {values[0]} for the baseline, {values[1]} for always "
        f"predicting {name_constant(data.task)}, and {values[2]} for {best.method}."
    )
    step = suggest(record, "Train longer, or raise the learning rate.", **_more_training(record))
    return Failure(headline, (detail,), step)


def _more_training(record: Record) -> dict[str, object]:
    epochs = record.study.get("epochs")
    return {"epochs": 4 * epochs} if isinstance(epochs, int) else {}
