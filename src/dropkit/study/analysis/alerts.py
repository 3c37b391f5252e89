"""What a reader of the results should beware of: as data, and in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.analysis.words import format_value
from dropkit.study.record import DataInfo, Record, Run, Tuning

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Alert:
    """One thing that may mislead.

    Attributes:
        kind: what it is, a name in `KINDS`.
        facts: its numbers and names. ``str(alert)`` puts them into a sentence or two.
    """

    kind: str
    facts: dict[str, Any]

    @property
    def severity(self) -> Severity:
        """How far it puts the numbers in doubt: ``error``, ``warning`` or ``note``."""
        return KINDS[self.kind][0]

    def __str__(self) -> str:
        return KINDS[self.kind][1](**self.facts)


def find_alerts(record: Record, baseline: Baseline) -> Iterator[Alert]:
    """Yield an alert for each thing that may mislead, the gravest first."""
    data, runs = record.data, record.of(record.baseline)
    for method in record.methods:
        ended = [run.status for run in record.of(method)]
        if diverged := ended.count("diverged"):
            facts = {"method": method, "diverged": diverged, "runs": len(ended)}
            yield Alert("diverged", facts)
    if baseline.is_constant:
        facts = {"data": data, "value": baseline.value}
        yield Alert("constant", facts | {"has_learned": baseline.has_learned})
    if len(runs) == 1:
        yield Alert("one seed", {})
    if data.task == "classification" and data.rows_test < 1000:
        yield Alert("few test rows", {"rows": data.rows_test})
    if record.study.get("prune") and record.tuning:
        yield Alert("unequal epochs", {"searches": record.tuning})
    rates = _group_by_learning_rate(record)
    if len(rates) > 1 and not record.tuned:
        yield Alert("unequal learning rates", {"methods": rates})
    if falling := [method for method in record.methods if _is_falling(method, record.of(method))]:
        yield Alert("still falling", {"methods": falling})
    if len(baseline.rises) > len(runs) / 2:
        best, epochs = baseline.rises[len(baseline.rises) // 2]
        yield Alert("overfits while training", {"best": best, "epochs": epochs})
    if record.starts_alike is False:
        yield Alert("other starts", {})
    for note in data.notes:
        yield Alert("about the data", {"note": note})


def _group_by_learning_rate(record: Record) -> dict[float, list[str]]:
    """The methods by their learning rates; what is solved for takes one step, and has none."""
    methods: dict[float, list[str]] = {}
    for method in record.methods:
        for run in record.of(method)[:1]:
            if "lr" in run.arguments and run.steps > 1:
                methods.setdefault(run.arguments["lr"], []).append(method)
    return methods


def _is_falling(method: str, runs: tuple[Run, ...]) -> bool:
    """Whether the validation loss of most runs fell to the end, where the end was the budget's."""
    return "early-stopping" not in method and sum(map(_falls, runs)) > len(runs) / 2


def _falls(run: Run) -> bool:
    """Whether the last of five losses or more is the lowest, and that by a hundredth of late."""
    losses = [loss for loss in run.curve.val_loss if loss is not None]
    if len(losses) < 5 or losses[-1] > min(losses):
        return False
    return losses[-1] < 0.99 * losses[-max(2, len(losses) // 5)]


def _describe_divergence(method: str, diverged: int, runs: int) -> str:
    others = "" if diverged == runs else " Its numbers come from the other runs alone."
    return (
        f"{method} diverged in {diverged} of {runs} runs: its loss became infinite or NaN."
        f"{others} A lower learning rate may help."
    )


def _describe_constant(data: DataInfo, value: float, has_learned: bool) -> str:
    measure, constant = data.measure, data.constant_value
    assert constant is not None, "without a constant answer nothing is compared with it"
    answer = "majority class" if data.task == "classification" else "mean target"
    unit = " %" if measure.percent else ""
    why = "the networks have not learned; train longer (--epochs) or with another --lr"
    if has_learned:
        why = "what the networks learn from the training rows does not hold for the test rows"
    return (
        f"The baseline's {measure.label}, {format_value(value, measure)}{unit}, is no better than "
        f"always predicting the {answer}, {format_value(constant, measure)}{unit}: {why}."
    )


def _describe_epochs(searches: dict[str, Tuning]) -> str:
    shown = "; ".join(
        f"{method} {taken.pruned} of {taken.trials}, {taken.epochs:,} epochs in total"
        for method, taken in searches.items()
    )
    return (
        "The methods had equal numbers of trials, but not of epochs, because trials that fell "
        f"behind were pruned: {shown}."
    )


def _describe_rates(methods: dict[float, list[str]]) -> str:
    shown = "; ".join(f"{rate:g} for {', '.join(names)}" for rate, names in methods.items())
    return (
        f"The methods' default learning rates differ ({shown}); --tune searches the best one of "
        "each method with an equal number of trials."
    )


KINDS: dict[str, tuple[Severity, Callable[..., str]]] = {
    "diverged": ("error", _describe_divergence),
    "constant": ("error", _describe_constant),
    "one seed": ("warning", "One seed gives no interval: use --seeds 5.".format),
    "few test rows": (
        "note",
        lambda rows: f"The test set has {rows} rows: one row is {100 / rows:.2f} points.",
    ),
    "unequal epochs": ("warning", _describe_epochs),
    "unequal learning rates": ("warning", _describe_rates),
    "still falling": (
        "warning",
        lambda methods: (
            f"The validation loss was still falling at the last epoch for {', '.join(methods)}: "
            "more epochs may change the ranking."
        ),
    ),
    "overfits while training": (
        "note",
        lambda best, epochs: (
            "The baseline overfits as it trains: its validation loss is lowest around epoch "
            f"{best} of {epochs} and rises after it."
        ),
    ),
    "other starts": (
        "warning",
        (
            "The methods of a seed did not start alike: initial weights or first batches differ. "
            "Build the model and the data before anything that a method changes, and seed both by "
            "run.seed."
        ).format,
    ),
    "about the data": ("note", "{note}".format),
}
"""How grave each kind of alert is, and its words."""
