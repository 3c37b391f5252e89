"""Define the work of running a user's training function, which any process can do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial

from dropkit.errors import StudyError
from dropkit.study.methods.expression import Expression
from dropkit.study.methods.method import Argument
from dropkit.study.methods.own_loop import list_searched_arguments, own_arguments
from dropkit.study.record import Curve, DataInfo, Run, Scores, Timing, finite
from dropkit.study.training.calling import Function, call
from dropkit.study.training.guard import Failed, Result, guard, resolve
from dropkit.study.training.look import Look, check_calls, check_same, look_at
from dropkit.study.training.models import fingerprint
from dropkit.study.training.outcome import Scored
from dropkit.study.training.seen import LOG, Logged
from dropkit.study.training.training_run import TrainingRun
from dropkit.study.training.work import Job
from dropkit.study.training_study import TrainingStudy
from dropkit.user_code import load_function


@dataclass(frozen=True, eq=False)
class FunctionWork:
    """Call a user's training function for a `Job`, in any process.

    Args:
        study: the settings.
        function: ``file.py:function`` or the function.
        time_limit: minutes after which a run is stopped; ``None`` for no limit.
        look: the result of `first_look`, which every outcome must match; ``None`` before it ran.
    """

    study: TrainingStudy
    function: str | Function
    time_limit: float | None = None
    look: Look | None = None
    driver: int = field(default_factory=os.getpid)
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", fingerprint(self.function))
        object.__setattr__(self, "function", resolve(self.function))

    def __call__(self, job: Job) -> Run | Failed:
        """Do a run; return `Failed` if the function fails, runs too long or runs out of memory."""
        return self._guard(partial(self._train, job))

    def first_look(self, _: object = None) -> Look | Failed:
        """Run the function briefly before the study begins, to find errors early; see `look_at`."""
        return self._guard(self._look)

    @property
    def epochs(self) -> int:
        return self.look.losses if self.look else 0

    def searched(self, method: Expression) -> tuple[Argument, ...]:
        """Return what a search varies: the method's arguments and the suggested values."""
        return (*self._suggested, *list_searched_arguments(method))

    @property
    def _suggested(self) -> tuple[Argument, ...]:
        return self.look.suggested if self.look else ()

    def count_epochs(self, run: Run, info: DataInfo) -> int:
        return len(run.curve.step)

    def arguments(self, job: Job) -> dict[str, float]:
        """Return the values of a run: the method's arguments and the suggested values."""
        defaults = {argument.name: argument.default for argument in self._suggested}
        return own_arguments(job.method) | defaults | job.hyperparameters

    def _guard(self, do: Callable[[Function], Result]) -> Result | Failed:
        return guard(
            lambda: do(_load(self.function, self.source)),
            self.function,
            source=self.source,
            threads=self.study.threads,
            time_limit=self.time_limit,
            driver=self.driver,
        )

    def _train(self, job: Job, function: Function) -> Run:
        run = TrainingRun(job.seed, job.method, hyperparameters=job.hyperparameters)
        run.limits = job.limits
        started = time.perf_counter()
        outcome = call(function, run)
        seconds = time.perf_counter() - started
        check_calls(job.method, run.seen.calls)
        scored = None if run.diverged or run.pruned else outcome.score()
        if self.look is not None and scored is not None:
            check_same(scored, self.look)
        return _make_run(job, self.arguments(job), run, scored, seconds)

    def _look(self, function: Function) -> Look:
        found = look_at(function, self.study.from_baseline)
        for method in self.study.methods:
            check_calls(method, found.calls)
        if self.study.tune and LOG not in found.calls:
            raise StudyError(
                "tuning needs the validation loss, but the training function never logs it: call "
                "run.log(val_loss=...) after every epoch"
            )
        if self.study.prune and found.losses < 2:
            raise StudyError(
                "pruning ends trials between epochs: train for two or more, in a loop with "
                "for epoch in run.epochs(n), or leave --prune out"
            )
        return found


def _make_run(
    job: Job,
    arguments: dict[str, float],
    run: TrainingRun,
    scored: Scored | None,
    seconds: float,
) -> Run:
    """Create the `Run`; ``scored`` is ``None`` if the training diverged or was pruned."""
    seen = run.seen
    log = seen.log or [Logged(seen.steps, seconds, None, None, None)]
    selected = run.selected
    val = None
    if scored is not None and (value := log[selected - 1].val_metric) is not None:
        val = Scores(log[selected - 1].val_loss, value)
    tested = scored is not None and job.trial is None
    status = "diverged" if run.diverged else "pruned" if run.pruned else "finished"
    steps = max(seen.steps, len(log))
    counted = seen.steps >= len(log)  # otherwise the function does not count every step
    return Run(
        method=str(job.method),
        seed=job.seed,
        status=status,
        steps=steps,
        selected_epoch=selected,
        arguments=arguments,
        curve=Curve(
            step=tuple(max(1, e.step) if counted else i for i, e in enumerate(log, 1)),
            train_loss=tuple(finite(entry.train_loss) for entry in log),
            val_loss=tuple(finite(entry.val_loss) for entry in log),
            val_value=tuple(finite(entry.val_metric) for entry in log),
        ),
        train=None,
        val=val,
        test=scored.scores if scored is not None and tested else None,
        row_errors=scored.row_errors if scored is not None and tested else None,
        timing=Timing(seconds, seconds / steps, tuple(entry.seconds for entry in log)),
        start=seen.start,
        contributions=scored.contributions if scored is not None and tested else None,
    )


@lru_cache(maxsize=1)
def _load(function: str | Function, source: str) -> Function:
    """Load the function; a file is executed once per process, and again after the file changes."""
    return load_function(function) if isinstance(function, str) else function
