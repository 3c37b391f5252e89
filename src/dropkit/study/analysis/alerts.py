"""Find what may mislead a reader of the results, as data and as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.falling import can_search_epochs, find_falling
from dropkit.study.analysis.pairs import list_differences
from dropkit.study.analysis.skew import FEWEST, have_opposite_signs, is_skewed, sign_flip_p
from dropkit.study.analysis.stats import Estimate
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.analysis.words import (
    format_difference,
    format_interval,
    name_constant,
    name_in_sentence,
    name_method,
    state_p,
    word_for,
)
from dropkit.study.record import DataInfo, Measure, Record, Tuning
from dropkit.study.shapes import join_words

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Alert:
    """One warning about the results.

    Attributes:
        kind: its kind, a name in `KINDS`.
        facts: its numbers and names; ``str(alert)`` formats them as sentences.
    """

    kind: str
    facts: dict[str, Any]

    @property
    def severity(self) -> Severity:
        """How severe it is: ``error``, ``warning`` or ``note``."""
        return KINDS[self.kind][0]

    def __str__(self) -> str:
        return KINDS[self.kind][1](**self.facts)


def find_alerts(
    record: Record, summaries: Sequence[MethodSummary], baseline: Baseline
) -> Iterator[Alert]:
    """Yield the alerts about a record."""
    data, runs = record.data, record.of(record.baseline)
    for summary in summaries:
        if summary.diverged:
            facts = {"method": name_method(record, summary.method), "diverged": summary.diverged}
            yield Alert("diverged", facts | {"runs": summary.runs})
        if summary.filled is not None:
            facts = {"method": summary.method, "difference": summary.filled, "data": data}
            yield Alert("survivors", facts)
        differences = list_differences(record, summary.method)
        if summary.is_significant_here and is_skewed(differences):
            # The sign-flip test needs independent runs, and folds are not independent.
            enough = len(differences) >= FEWEST and not record.overlap
            p = sign_flip_p(differences) if enough else None
            opposite = have_opposite_signs(differences)
            each = "seed" if record.folds is None else "fold"
            facts = {"method": summary.method, "p": p, "opposite": opposite, "each": each}
            yield Alert("skewed", facts)
    if len(runs) == 1:
        yield Alert("one seed", {})
    if data.task == "classification" and data.rows_test < 1000:
        few = {"rows": data.rows_test, "measure": data.measure, "folds": record.folds}
        yield Alert("few test rows", few)
    if record.study.get("prune") and record.tuning:
        yield Alert("unequal epochs", {"searches": record.tuning})
    settings = _group_by_optimizer(record)
    if len(settings) > 1:
        yield Alert(
            "tuned to different settings" if record.tuned else "unequal optimizers",
            {"methods": settings},
        )
    if falling := find_falling(record):
        names = [name_in_sentence(record, method) for method in falling]
        remedy = ""
        if can_search_epochs(record):
            remedy = word_for(record, " --until-converged finds how many are enough.")
        yield Alert("still falling", {"methods": names, "remedy": remedy})
    if len(baseline.rises) > len(runs) / 2:
        best, epochs = baseline.rises[len(baseline.rises) // 2]
        yield Alert("overfits while training", {"best": best, "epochs": epochs})
    if record.starts_alike is False:
        yield Alert("other starts", {})
    for note in data.notes:
        yield Alert("about the data", {"note": word_for(record, note)})


def _group_by_optimizer(record: Record) -> dict[str, list[str]]:
    """Group methods by learning rate and momentum; closed-form methods have neither."""
    methods: dict[str, list[str]] = {}
    for method in record.methods:
        for run in record.of(method)[:1]:
            if "lr" in run.arguments and run.steps > 1:
                setting = f"learning rate {run.arguments['lr']:.3g}"
                if "momentum" in run.arguments:
                    setting += f" and momentum {run.arguments['momentum']:.3g}"
                methods.setdefault(setting, []).append(name_method(record, method))
    return methods


def _describe_divergence(method: str, diverged: int, runs: int) -> str:
    others = "" if diverged == runs else " Its numbers come from the other runs only."
    method = "The baseline" if method == "baseline" else method
    return (
        f"{method} diverged in {diverged} of {runs} runs: its loss became infinite or NaN."
        f"{others} A lower learning rate may help."
    )


def _describe_few_rows(rows: int, measure: Measure, folds: int | None) -> str:
    tested = "The test set has" if folds is None else f"The {folds} folds together test"
    if measure.name in ("error", "accuracy"):
        change = f"one row changes the {measure.short} by {100 / rows:.2f} points"
    else:
        change = f"on other rows, the {measure.short} may be different"
    return f"{tested} only {rows} rows: {change}."


def _describe_epochs(searches: dict[str, Tuning]) -> str:
    shown = "; ".join(
        f"{method} used {taken.epochs:,} epochs ({taken.pruned} of {taken.trials} trials pruned)"
        for method, taken in searches.items()
    )
    return (
        "Every method had the same number of trials, but not of epochs, because unpromising "
        f"trials were pruned: {shown}."
    )


def _describe_settings(methods: dict[str, list[str]]) -> str:
    shown = _list_settings(methods)
    return (
        f"The methods did not train with the same settings: {shown}. Differences between methods "
        "may partly come from these settings."
    )


def _describe_tuned(methods: dict[str, list[str]]) -> str:
    shown = _list_settings(methods)
    return f"Tuning chose different settings for the methods; for the first seed: {shown}."


def _list_settings(methods: dict[str, list[str]]) -> str:
    return "; ".join(f"{setting} for {', '.join(names)}" for setting, names in methods.items())


def _describe_survivors(method: str, difference: Estimate, data: DataInfo) -> str:
    size = format_difference(difference, data.measure, signed=True)
    return (
        f"The comparison leaves out diverged runs, which may flatter {method}. If each diverged "
        f"run counts as always predicting {name_constant(data.task)}, {method} differs from the "
        f"baseline by {size} {format_interval(difference, data.measure)}."
    )


def _describe_skew(method: str, p: float | None, opposite: bool, each: str) -> str:
    flips = (
        ""
        if p is None
        else " A sign-flip (permutation) test does not assume normally distributed differences. "
        f"It gives {state_p(p)}."
    )
    if opposite:
        return (
            f"The mean and the median of {method}'s differences from the baseline have opposite "
            f"signs: look at each run before you trust the mean.{flips}"
        )
    return (
        f"One {each} contributes more to {method}'s mean difference from the baseline than all "
        f"other {each}s together: look at each run before you trust the mean.{flips}"
    )


KINDS: dict[str, tuple[Severity, Callable[..., str]]] = {
    "diverged": ("error", _describe_divergence),
    "one seed": ("warning", "One seed gives no interval: use 5 seeds or more.".format),
    "few test rows": ("note", _describe_few_rows),
    "unequal epochs": ("warning", _describe_epochs),
    "survivors": ("warning", _describe_survivors),
    "skewed": ("warning", _describe_skew),
    "unequal optimizers": ("warning", _describe_settings),
    "tuned to different settings": ("note", _describe_tuned),
    "still falling": (
        "warning",
        lambda methods, remedy: (
            f"The validation loss was still falling at the last epoch for {join_words(methods)}: "
            f"more epochs may change the ranking.{remedy}"
        ),
    ),
    "overfits while training": (
        "note",
        lambda best, epochs: (
            "The baseline overfits during training: its validation loss is lowest around epoch "
            f"{best} of {epochs} and then rises."
        ),
    ),
    "other starts": (
        "warning",
        (
            "Runs with the same seed did not start equally: initial weights or first batches "
            "differ between methods. Seed the model and the data with run.seed, and build both "
            "before you call run.regularize or any other function of run."
        ).format,
    ),
    "about the data": ("note", "{note}".format),
}
"""The severity and the text of each kind of alert."""
