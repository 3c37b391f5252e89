"""Alerts in words: a sentence or two for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dropkit.study.analysis.alerts import Alert, Kind
from dropkit.study.analysis.words import format_error, name_error


def describe_alert(alert: Alert) -> str:
    """Say what may mislead, with its numbers, and what to do about it."""
    return _WORDS[alert.kind](**alert.facts)


def _diverged(method: str, diverged: int, runs: int) -> str:
    others = "" if diverged == runs else " Its numbers come from the other runs alone."
    return (
        f"{method} diverged in {diverged} of {runs} runs: its loss became infinite or NaN."
        f"{others} A lower learning rate may help."
    )


def _constant(task: str, error: float, constant: float, has_learned: bool) -> str:
    answer, unit = "mean target", ""
    if task == "classification":
        answer, unit = "majority class", " %"
    why = "the networks have not learned; train longer (--epochs) or with another --lr"
    if has_learned:
        why = "what the networks learn from the training rows does not hold for the test rows"
    return (
        f"The baseline's {name_error(task)}, {format_error(error, task)}{unit}, is no better than "
        f"always predicting the {answer}, {format_error(constant, task)}{unit}: {why}."
    )


def _unequal_epochs(searches: dict[str, Any]) -> str:
    shown = "; ".join(
        f"{method} {taken.pruned} of {taken.trials}, {taken.epochs:,} epochs in total"
        for method, taken in searches.items()
    )
    return (
        "The methods had equal numbers of trials, but not of epochs, because trials that fell "
        f"behind were pruned: {shown}."
    )


def _unequal_rates(methods: dict[float, list[str]]) -> str:
    shown = "; ".join(f"{rate:g} for {', '.join(names)}" for rate, names in methods.items())
    return (
        f"The methods' default learning rates differ ({shown}); --tune searches the best one of "
        "each method with an equal number of trials."
    )


_WORDS: dict[Kind, Callable[..., str]] = {
    "diverged": _diverged,
    "no better than a constant": _constant,
    "one seed": lambda: "One seed gives no interval: use --seeds 5.",
    "few test rows": lambda rows: (
        f"The test set has {rows} rows: one row is {100 / rows:.2f} points."
    ),
    "unequal epochs": _unequal_epochs,
    "unequal learning rates": _unequal_rates,
    "still falling": lambda methods: (
        f"The validation loss was still falling at the last epoch with {', '.join(methods)}: "
        "more --epochs may change the ranking."
    ),
    "overfits while training": lambda best, epochs: (
        f"The baseline overfits as it trains: its validation loss is lowest around epoch {best} of "
        f"{epochs} and rises after it."
    ),
    "about the data": lambda note: note,
}
