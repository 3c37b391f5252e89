"""What a reader of the results should beware of, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dropkit.study.analysis.baseline import Baseline
from dropkit.study.record import Record, Run

Kind = Literal[
    "diverged",
    "no better than a constant",
    "one seed",
    "few test rows",
    "unequal epochs",
    "unequal learning rates",
    "still falling",
    "overfits while training",
    "about the data",
]
Severity = Literal["error", "warning", "note"]

_SEVERITIES: dict[Kind, Severity] = {
    "diverged": "error",
    "no better than a constant": "error",
    "one seed": "warning",
    "few test rows": "note",
    "unequal epochs": "warning",
    "unequal learning rates": "warning",
    "still falling": "warning",
    "overfits while training": "note",
    "about the data": "note",
}


@dataclass(frozen=True)
class Alert:
    """One thing that may mislead; `describe_alert` puts its ``facts`` into words."""

    kind: Kind
    facts: dict[str, Any]

    @property
    def severity(self) -> Severity:
        """How far it puts the numbers in doubt: ``error``, ``warning`` or ``note``."""
        return _SEVERITIES[self.kind]


def find_alerts(record: Record, baseline: Baseline) -> Iterator[Alert]:
    """Yield an alert for each thing that may mislead, the gravest first."""
    yield from _find_diverged(record)
    if baseline.is_constant:
        yield Alert(
            "no better than a constant",
            {
                "task": record.data.task,
                "error": baseline.error,
                "constant": record.data.constant_error,
                "has_learned": baseline.has_learned,
            },
        )
    runs = record.of(record.baseline)
    if len(runs) == 1:
        yield Alert("one seed", {})
    if record.data.task == "classification" and record.data.rows_test < 1000:
        yield Alert("few test rows", {"rows": record.data.rows_test})
    if record.study.get("prune") and record.tuning:
        yield Alert("unequal epochs", {"searches": record.tuning})
    rates = _learning_rates(record)
    if len(rates) > 1 and not record.tuned:
        yield Alert("unequal learning rates", {"methods": rates})
    if falling := [method for method in record.methods if _is_falling(method, record.of(method))]:
        yield Alert("still falling", {"methods": falling})
    if len(baseline.rises) > len(runs) / 2:
        best, epochs = baseline.rises[len(baseline.rises) // 2]
        yield Alert("overfits while training", {"best": best, "epochs": epochs})
    for note in record.data.notes:
        yield Alert("about the data", {"note": note})


def _find_diverged(record: Record) -> Iterator[Alert]:
    for method in record.methods:
        runs = record.of(method)
        if diverged := sum(run.status == "diverged" for run in runs):
            facts = {"method": method, "diverged": diverged, "runs": len(runs)}
            yield Alert("diverged", facts)


def _learning_rates(record: Record) -> dict[float, list[str]]:
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
