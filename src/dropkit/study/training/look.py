"""Run a user's training function briefly before its study begins, to find errors early."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dropkit.errors import StudyError
from dropkit.study.methods.expression import Expression
from dropkit.study.methods.method import Argument
from dropkit.study.methods.own_loop import own_recipe
from dropkit.study.record import Measure
from dropkit.study.training.calling import Function, call
from dropkit.study.training.outcome import Outcome, Scored
from dropkit.study.training.seen import LOG
from dropkit.study.training.training_run import TrainingRun

SAME = 1e-4
"""The relative difference up to which two numbers count as equal, to allow for rounding."""


@dataclass(frozen=True)
class Look:
    """What a short first run of a training function has shown.

    Args:
        measure: the measure by which outcomes are compared.
        task, rows, targets, constant: the fields of the first outcome; see `Scored`.
        calls: the names of the functions of `TrainingRun` that the training function calls.
        losses: number of validation losses that a whole training logs, estimated from one epoch.
        suggested: the arguments of `TrainingRun.suggest`, which a search varies.
        difference: how a second run with the same method and seed differed; empty if it did not.
    """

    measure: Measure
    task: str
    rows: int
    targets: str
    calls: tuple[str, ...]
    suggested: tuple[Argument, ...]
    difference: str = ""
    losses: int = 0
    constant: float | None = None


class _ShortRun(TrainingRun):
    """A run of one epoch that also inserts other methods into copies of the model."""

    def __init__(self, method: Expression, others: Sequence[Expression] = ()) -> None:
        super().__init__(0, method)
        self.budget, self.others = 1, others


def look_at(function: Function, methods: Sequence[Expression]) -> Look:
    """Run the function twice, with the first method and seed 0.

    If the function uses `TrainingRun.epochs`, each run lasts one epoch. The other methods are
    inserted into copies of the model. The two runs share a process, so that their results differ if
    the function keeps a state between runs.

    Raises:
        StudyError: the function fails, or a method cannot be applied to its model.
    """
    first, again = _ShortRun(methods[0], methods[1:]), _ShortRun(methods[0])
    outcome, repeated = call(function, first), call(function, again)
    scored = outcome.score()
    return Look(
        measure=scored.measure,
        task=scored.task,
        rows=scored.rows,
        targets=scored.targets,
        calls=tuple(sorted(first.seen.calls)),
        suggested=tuple(first.seen.suggested.values()),
        difference=_describe_difference(
            dict(_list_numbers(first, outcome, scored)),
            dict(_list_numbers(again, repeated, repeated.score())),
        ),
        losses=first.seen.planned * sum(e.val_loss is not None for e in first.seen.log),
        constant=scored.constant,
    )


def check_calls(method: Expression, calls: Collection[str]) -> None:
    """Raise `StudyError` if a method needs a call that the function never makes."""
    recipe = own_recipe(method)
    needed = {
        "regularize": not recipe.keep_own
        or recipe.inputs
        or recipe.wrappers
        or recipe.restore_best,
        "parameter_groups": recipe.weight_decay,
        "penalty": recipe.penalties,
        "after_step": recipe.max_norm is not None,
        "epochs": recipe.patience is not None or recipe.anneal,
        LOG: recipe.patience is not None,
    }
    for name, is_needed in needed.items():
        if is_needed and name not in calls:
            raise StudyError(
                f"{method} needs run.{HOW[name]}, but the training function never calls it: "
                "add the call, or leave the method out"
            )


HOW = {
    "regularize": "regularize(model)",
    "parameter_groups": "parameter_groups(model)",
    "penalty": "penalty(model), a part of the loss",
    "after_step": "after_step(model)",
    "epochs": "epochs(n)",
    LOG: LOG,
}


def check_same(scored: Scored, look: Look) -> None:
    """Raise `StudyError` if an outcome cannot be compared with the first outcome."""
    if scored.measure != look.measure:
        raise StudyError(
            f"the Outcome is scored by {scored.measure.name}, but the first run was scored by "
            f"{look.measure.name}; return the same metric for every method and seed"
        )
    if scored.rows != look.rows:
        raise StudyError(
            f"the Outcome has {scored.rows} test rows, but the first run had {look.rows}; "
            "score every method and seed on the same test rows"
        )
    if scored.targets != look.targets:
        raise StudyError(
            "the test targets differ from those of the first run; score every method and seed "
            "on the same test rows, in the same order, or return metrics={...}"
        )


def _list_numbers(
    run: TrainingRun, outcome: Outcome, scored: Scored
) -> Iterator[tuple[str, float]]:
    """Yield the numbers that must be equal in two runs with the same method and seed."""
    yield scored.measure.label, scored.scores.value
    if scored.scores.loss is not None:
        yield "test loss", scored.scores.loss
    for i, entry in enumerate(run.seen.log, 1):
        for name in ("train_loss", "val_loss", "val_metric"):
            value = getattr(entry, name)
            if value is not None:
                yield f"{name} of epoch {i}", value


def _describe_difference(first: dict[str, float], again: dict[str, float]) -> str:
    """Describe the first number that differs; return an empty text if none does."""
    for name, value in first.items():
        other = again.get(name, math.nan)
        if not np.isclose(value, other, rtol=SAME, atol=0, equal_nan=True):
            return f"{name} was {value:.6g} and then {other:.6g}"
    return ""
