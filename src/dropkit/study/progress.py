"""Print the progress of a study: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dropkit.study.record import Measure, Run
from dropkit.study.seeds import name_seed
from dropkit.text import printable


class StudyProgress:
    """Count finished runs on standard error, and name the leading method so far.

    The leading method has the best mean validation score over the seeds that every method has
    finished. Test rows are not used, and the order in which runs end does not matter.

    Args:
        total: number of runs of the whole study.
        done: number of runs that the run folder already holds.
        measure: the metric that methods are compared by.
        methods: the methods that are compared.
        folds: number of folds; ``None`` without cross-validation.
        show: whether to print anything.
    """

    def __init__(
        self,
        total: int,
        done: int,
        measure: Measure,
        methods: Sequence[str],
        *,
        folds: int | None = None,
        show: bool = True,
    ) -> None:
        self.console = Console(stderr=True, quiet=not show)
        self.total, self.done, self.measure, self.methods = total, done, measure, methods
        self.resumed, self.folds = done, folds
        self.costs: dict[int, dict[str, float]] = defaultdict(dict)  # by seed, then method
        self.first_end = math.inf
        self.live = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[leading]}"),
            console=self.console,
            disable=not (show and self.console.is_terminal),
            transient=True,
        )
        self.bar = self.live.add_task("training", total=total, completed=done, leading="")

    def __enter__(self) -> Self:
        if self.resumed:
            self.console.print(
                f"{self.resumed} of {self.total} runs are already done", highlight=False
            )
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def say(self, line: str) -> None:
        """Print a separate line."""
        self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)

    def again(self, count: int, why: str) -> None:
        """Count ``count`` runs of the run folder as not done, and print why."""
        self.done -= count
        self.resumed -= count
        self.say(why)

    def known(self, run: Run) -> None:
        """Count a run of an earlier start when finding the leading method, but print nothing."""
        cost = math.inf if run.val is None else self.measure.cost(run.val.value)
        self.costs[run.seed][run.method] = cost

    def finished(self, run: Run, label: str = "") -> None:
        """Announce one finished run."""
        self.done += 1
        self.first_end = min(self.first_end, time.monotonic())
        if not label:
            self.known(run)
        leading = self._leading()
        self.live.update(self.bar, completed=self.done, leading=leading)
        if not self.console.is_terminal:
            name = label or f"{run.method}, {name_seed(run.seed, self.folds)}"
            outcome = run.status if run.val is None else f"validation {self._show(run)}"
            if run.status == "pruned":
                outcome += f" after epoch {len(run.curve.step)}"
            self.say(
                f"[{self.done}/{self.total}] {name}: {outcome}, {run.timing.seconds:.1f} s"
                f"{self._time_left()}{'; ' + leading if leading else ''}"
            )

    def _show(self, run: Run) -> str:
        assert run.val is not None
        return f"{self.measure.short} {self._number(run.val.value)}"

    def _number(self, value: float) -> str:
        return f"{100 * value:.2f} %" if self.measure.percent else f"{value:.4g}"

    def _time_left(self) -> str:
        # Measured from the first finished run, so that the start of the workers is not counted.
        new = self.done - self.resumed - 1
        seconds = (time.monotonic() - self.first_end) / max(1, new) * (self.total - self.done)
        return f", about {seconds / 60:.0f} min left" if seconds >= 90 else ""

    def _leading(self) -> str:
        whole = [costs for costs in self.costs.values() if len(costs) == len(self.methods)]
        if not whole or len(self.methods) < 2:
            return ""
        means = {method: fmean(costs[method] for costs in whole) for method in self.methods}
        name = min(self.methods, key=means.__getitem__)
        if means[name] == max(means.values()):  # all are equal, or all diverged
            return ""
        shown = f"best on validation: {name} {self._number(self.measure.cost(means[name]))}"
        return escape(shown) if self.console.is_terminal else shown


def describe_trainings(methods: int, repetitions: int, folds: int, *, trials: int = 0) -> str:
    """Return the number of trainings of a study with folds, and its factors.

    >>> describe_trainings(2, 1, 5), describe_trainings(6, 5, 10, trials=20)
    ('10 trainings: 2 methods × 1 repetition × 5 folds',
     '6,300 trainings: 6 methods × 5 repetitions × 10 folds × (20 trials and 1 training)')
    """
    factors = [_count(methods, "method"), _count(repetitions, "repetition"), _count(folds, "fold")]
    factors += [f"({_count(trials, 'trial')} and 1 training)"] if trials else []
    total = methods * repetitions * folds * (1 + trials)
    return f"{total:,} trainings: {' × '.join(factors)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"
