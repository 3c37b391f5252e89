"""The trials of a tuning in an Optuna storage too, for Optuna's own tools to look at."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dropkit.errors import StudyError
from dropkit.study.methods.expression import parse
from dropkit.study.record.results import Run
from dropkit.study.store.folder import RunFolder, slug
from dropkit.study.tuning.backend import backend
from dropkit.study.tuning.search import inside, judged, space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PAUSE = 60.0  # seconds without a further try after one has failed


class TuneStorage:
    """An Optuna storage with one Optuna study per method, named after the run's digest.

    Every trial is written when it has ended, as a whole and once: those that are there are looked
    up before, so that a study which goes on, or is run again, makes no second ones. Nothing is
    read from it for the search. The states are COMPLETE, PRUNED, and FAIL of what diverged;
    intermediate values are the validation losses that pruning goes by, epoch by epoch; user
    attributes are ``method``, ``trial`` (its number in the run folder, from 0), ``seconds`` and
    ``where`` (the run folder). Optuna's own numbers are in the order of writing.

    Args:
        where: a file whose name ends in ``.journal`` or ``.log``, or the address of a database
            that Optuna's ``RDBStorage`` can use, such as ``sqlite:///trials.db``.
        folder: the run folder, whose study must have trials.

    Raises:
        StudyError: the study has no trials, or the storage cannot be used: it is no such place,
            does not answer, cannot be written, or its driver is missing.
    """

    def __init__(self, where: str, folder: RunFolder) -> None:
        if not folder.study.tune:
            raise StudyError("tune-storage is for the trials of --tune; add --tune N")
        self.folder = folder
        self._backend = backend(where)
        self._pending: deque[tuple[Run, int]] = deque()
        self._again = 0.0  # when to try again
        self._failing = False
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self._backend.reached():
            storage = self._backend.open()
            self._studies = {
                method: optuna.create_study(
                    study_name=f"dropkit-{folder.digest}-{slug(method)}",
                    storage=storage,
                    load_if_exists=True,
                )
                for method in folder.study.methods
            }

    def keep(self, run: Run, trial: int, say: Callable[[str], None]) -> None:
        """Write a trial that has ended, with all that could not be written before.

        What goes wrong is said in a line and tried again with a later trial: it must not end a
        study, whose trials are in its run folder in any case.
        """
        self._pending.append((run, trial))
        if time.monotonic() >= self._again:
            self._write(say, "it is tried again later")

    def finish(self, say: Callable[[str], None]) -> None:
        """Try once more to write what is left."""
        if self._pending:
            self._failing = False
            self._write(say, "run the same command again to write them")

    def _write(self, say: Callable[[str], None], hint: str) -> None:
        try:
            with self._backend.reached():
                self._backend.ready()
                while self._pending:
                    run, number = self._pending[0]
                    study = self._studies[run.method]
                    there = study.get_trials(deepcopy=False)
                    if all(each.user_attrs.get("trial") != number for each in there):
                        study.add_trial(self._frozen(run, number))
                    self._pending.popleft()
            self._failing = False
        except StudyError as error:
            self._again = time.monotonic() + PAUSE
            if not self._failing:
                left = len(self._pending)
                trials = f"{left} trial{'s are' if left > 1 else ' is'} in the run folder alone"
                say(f"{error}; {trials}, and {hint}")
            self._failing = True

    def _frozen(self, run: Run, number: int) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        losses = judged(run)
        state, value = TrialState.FAIL, None
        if run.val is not None:
            state, value = TrialState.COMPLETE, run.val.loss
        elif run.status == "pruned":
            state, value = TrialState.PRUNED, losses[max(losses)]  # as Optuna itself has it
        searched = space(parse(run.method), self.folder.study.lr)
        arguments = run.arguments | {"lr": run.arguments.get("base_lr", run.arguments["lr"])}
        trial = create_trial(
            state=state,
            value=value,
            params=inside(searched, arguments),
            distributions=searched,
            intermediate_values=losses,
            user_attrs={
                "method": run.method,
                "trial": number,
                "seconds": round(run.timing.seconds, 3),
                "where": self._where(),
            },
        )
        trial.datetime_complete = datetime.now()
        trial.datetime_start = trial.datetime_complete - timedelta(seconds=run.timing.seconds)
        return trial

    def _where(self) -> str:
        path = self.folder.path
        return f"{platform.node()}:{path.resolve()}" if isinstance(path, Path) else str(path)
