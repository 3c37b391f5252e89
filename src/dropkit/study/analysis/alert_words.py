"""Alerts in words: a sentence or two for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dropkit.study.analysis.alerts import Alert, Kind
from dropkit.study.analysis.words import measure, number


def describe_alert(alert: Alert) -> str:
    """Say what may mislead, with its numbers, and what to do about it."""
    return _WORDS[alert.kind](**alert.facts)


def _diverged(method: str, diverged: int, runs: int) -> str:
    kept = "" if diverged == runs else "; its numbers are of the others alone"
    return (
        f"{method} diverged in {diverged} of {runs} runs: its loss became infinite or NaN{kept}. "
        "A lower learning rate may help."
    )


def _constant(baseline: str, task: str, error: float, constant: float, has_learned: bool) -> str:
    answer, unit = "mean of the target", ""
    if task == "classification":
        answer, unit = "most frequent class", " %"
    why = "the nets have not learned; train longer (--epochs) or with another --lr"
    if has_learned:
        why = "what the nets learn from the training rows does not hold for the test rows"
    return (
        f"{baseline}'s {measure(task)}, {number(error, task)}{unit}, is not below that of always "
        f"answering the {answer}, {number(constant, task)}{unit}: {why}."
    )


def _unequal_epochs(searches: dict[str, Any]) -> str:
    shown = "; ".join(
        f"{method} {taken.pruned} of {taken.trials}, {taken.epochs:,} epochs in all"
        for method, taken in searches.items()
    )
    return (
        "The methods had equal numbers of trials, but not of epochs, since those that fell "
        f"behind were pruned: {shown}."
    )


def _unequal_rates(methods: dict[float, list[str]]) -> str:
    shown = "; ".join(f"{rate:g} for {', '.join(names)}" for rate, names in methods.items())
    return (
        f"Learning rates differ by the methods' defaults ({shown}); --tune searches each "
        "method's own with an equal number of trials."
    )


_WORDS: dict[Kind, Callable[..., str]] = {
    "diverged": _diverged,
    "no better than a constant": _constant,
    "one seed": lambda: "One seed gives no interval; --seeds 5 would.",
    "few test rows": lambda rows: (
        f"The test set has {rows} rows: one row is {100 / rows:.2f} points."
    ),
    "unequal epochs": _unequal_epochs,
    "unequal learning rates": _unequal_rates,
    "still falling": lambda methods: (
        f"The validation loss was still falling at the last epoch with {', '.join(methods)}: "
        "more --epochs may change the order."
    ),
    "overfits while training": lambda baseline, best, epochs: (
        f"{baseline} overfits as it trains: its validation loss is lowest around epoch {best} of "
        f"{epochs} and has risen since."
    ),
    "about the data": lambda note: note,
}
