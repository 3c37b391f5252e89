"""What a reader of the results should beware of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean
from typing import Literal

from dropkit.study.analysis.overfit import NEGLIGIBLE, rising
from dropkit.study.analysis.words import measure, number
from dropkit.study.record.results import Results, Run


def alerts(results: Results) -> Iterator[str]:
    """One sentence or two for each thing that may mislead, the gravest first."""
    yield from _diverged(results)
    yield from _guessing(results)
    if len(results.of(results.baseline)) == 1:
        yield "One seed gives no interval; --seeds 5 would."
    rows = results.data.rows_test
    if results.data.task == "classification" and rows < 1000:
        yield f"The test set has {rows} rows: one row is {100 / rows:.2f} points."
    yield from _pruned(results)
    yield from _learning_rates(results)
    yield from _still_falling(results)
    yield from _overfitting(results)
    yield from results.data.notes


def _diverged(results: Results) -> Iterator[str]:
    for method in results.methods:
        runs = results.of(method)
        lost = [run for run in runs if run.status == "diverged"]
        if lost:
            kept = "" if len(lost) == len(runs) else "; its numbers are of the others alone"
            yield (
                f"{method} diverged in {len(lost)} of {len(runs)} runs: its loss became infinite "
                f"or NaN{kept}. A lower learning rate may help."
            )


def unlearned(results: Results) -> bool:
    """Whether the baseline errs as a constant answer does, on test and on training rows."""
    return _guesses(results, "test", 1e-9) and _guesses(results, "train", NEGLIGIBLE)


def _guessing(results: Results) -> Iterator[str]:
    task, constant = results.data.task, results.data.constant_error
    if constant is None or not _guesses(results, "test", 1e-9):
        return
    answer, unit = "mean of the target", ""
    if task == "classification":
        answer, unit = "most frequent class", " %"
    why = "what the nets learn from the training rows does not hold for the test rows"
    if unlearned(results):
        why = "the nets have not learned; train longer (--epochs) or with another --lr"
    error = f"{number(_mean_error(results, 'test'), task)}{unit}"
    yield (
        f"{results.baseline}'s {measure(task)}, {error}, is not below that of always answering "
        f"the {answer}, {number(constant, task)}{unit}: {why}."
    )


def _guesses(results: Results, rows: Literal["train", "test"], slack: float) -> bool:
    data = results.data
    constant = data.constant_error if rows == "test" else data.constant_train_error
    return constant is not None and _mean_error(results, rows) >= (1 - slack) * constant


def _mean_error(results: Results, rows: Literal["train", "test"]) -> float:
    """The baseline's, over the runs that finished; NaN without any."""
    scores = [getattr(run, rows) for run in results.of(results.baseline)]
    errors = [each.error for each in scores if each is not None]
    return fmean(errors) if errors else math.nan


def _pruned(results: Results) -> Iterator[str]:
    if results.study.get("prune") and results.tuning:
        shown = "; ".join(
            f"{method} {taken.pruned} of {taken.trials}, {taken.epochs:,} epochs in all"
            for method, taken in results.tuning.items()
        )
        yield (
            "The methods had equal numbers of trials, but not of epochs, since those that fell "
            f"behind were pruned: {shown}."
        )


def _learning_rates(results: Results) -> Iterator[str]:
    methods: dict[float, list[str]] = {}
    for method in results.methods:
        for run in results.of(method)[:1]:
            if "lr" in run.arguments and run.steps > 1:  # what is solved for takes one
                methods.setdefault(run.arguments["lr"], []).append(method)
    if len(methods) > 1 and not results.tuned:
        shown = "; ".join(f"{rate:g} for {', '.join(names)}" for rate, names in methods.items())
        yield (
            f"Learning rates differ by the methods' defaults ({shown}); --tune searches each "
            "method's own with an equal number of trials."
        )


def _still_falling(results: Results) -> Iterator[str]:
    short = []
    for method in results.methods:
        runs = results.of(method)
        if "early-stopping" not in method and sum(map(_falls, runs)) > len(runs) / 2:
            short.append(method)
    if short:
        yield (
            f"The validation loss was still falling at the last epoch with {', '.join(short)}: "
            "more --epochs may change the order."
        )


def _falls(run: Run) -> bool:
    """Whether the last of five losses or more is the lowest, and that by a hundredth of late."""
    losses = [loss for loss in run.curve.val_loss if loss is not None]
    if len(losses) < 5 or losses[-1] > min(losses):
        return False
    return losses[-1] < 0.99 * losses[-max(2, len(losses) // 5)]


def _overfitting(results: Results) -> Iterator[str]:
    runs = results.of(results.baseline)
    rises = sorted(rising(runs))
    if len(rises) > len(runs) / 2:
        best, epochs = rises[len(rises) // 2]
        yield (
            f"{results.baseline} overfits as it trains: its validation loss is lowest around "
            f"epoch {best} of {epochs} and has risen since."
        )
