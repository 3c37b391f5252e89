"""One training as work that any process can do: all that it needs, and how it may fail."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dropkit.errors import StudyError, is_out_of_memory
from dropkit.study.config import Study
from dropkit.study.data import Data
from dropkit.study.methods.expression import Expression
from dropkit.study.record import Run
from dropkit.study.store.folder import Key
from dropkit.study.training.folds import Fold, load_fold
from dropkit.study.training.models import Factory, build, check_outputs, factory, fingerprint
from dropkit.study.training.once import train_once

GRACE = 60  # seconds after which a worker that a time limit could not interrupt is ended


@dataclass(frozen=True)
class Job:
    """One training that is still to be done; ``trial`` numbers those of a search.

    ``limits`` say when a trial is pruned (see `dropkit.study.tuning.median`), so that no worker
    needs to
    know of others.
    """

    method: Expression
    seed: int
    chosen: dict[str, float]
    trial: int | None = None
    limits: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        """What the run folder files it under."""
        return str(self.method), self.seed, self.trial

    def __str__(self) -> str:
        what = f"seed {self.seed}" if self.trial is None else f"trial {self.trial + 1}"
        return f"{self.method}, {what}"


@dataclass(frozen=True)
class Failed:
    """A training that gave no result, though others may; one line says why."""

    reason: str


@dataclass(frozen=True, eq=False)
class Work:
    """Trains a `Job` of one study, in whatever process it is called.

    Args:
        study: the configuration, with a number of epochs.
        data: the rows.
        model: the built-in name, ``file.py:function`` or the function.
        time_limit: minutes after which a training is given up; ``None`` for no limit.
        inputs: the shape of a row that the model was tried with; ``None`` if it was not.
    """

    study: Study
    data: Data
    model: str | Factory
    time_limit: float | None = None
    inputs: tuple[int, ...] | None = None
    driver: int = field(default_factory=os.getpid)
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", fingerprint(self.model))
        if isinstance(self.model, str) and ":" in self.model:
            path, _, name = self.model.rpartition(":")  # workers stay in the folder they began in
            object.__setattr__(self, "model", f"{Path(path).resolve()}:{name}")

    def __call__(self, job: Job) -> Run | Failed:
        """Train; a lack of memory, an overrun and what the user can put right are `Failed`."""
        torch.set_num_threads(self.study.threads)
        if isinstance(self.model, str) and fingerprint(self.model) != self.source:
            return Failed(f"{self.model.rpartition(':')[0]} has changed since the study began")
        try:
            with self._limited():
                make = factory(self.model, self.study.hidden)
                fold = load_fold(self.data, self.study, job.seed)
                self._try_rows(make, fold)
                return train_once(
                    self.study,
                    make,
                    fold,
                    job.method,
                    job.seed,
                    chosen=job.chosen,
                    test=job.trial is None,
                    limits=job.limits,
                )
        except _Overrun:
            return Failed(f"took longer than the time limit of {self.time_limit:g} minutes")
        except StudyError as error:
            return Failed(str(error))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return Failed("ran out of memory; use a smaller model or batch, or fewer --jobs")

    def _try_rows(self, make: Factory, fold: Fold) -> None:
        """Raise `StudyError` if rows are of another shape than those tried, which the model needs.

        A table's columns depend on what is missing or rare in the training rows of a seed.
        """
        if self.inputs in (None, fold.inputs):
            return
        rows = fold.x_train[:2]
        try:
            check_outputs(build(make, rows, fold.outputs, seed=0), rows, fold.outputs, fold.task)
        except StudyError as error:
            here, first = ("x".join(map(str, shape)) for shape in (fold.inputs, self.inputs or ()))
            raise StudyError(
                f"rows are of shape {here} here and {first} with seed 0, since missing values and "
                "rare categories differ between their training rows; let the model function take "
                f"the shape of its inputs ({error})"
            ) from error

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Raise `_Overrun` here when the time is up.

        A worker that is stuck outside of Python, where no exception can reach it, is ended.
        """
        if self.time_limit is None:
            yield
            return
        if threading.current_thread() is not threading.main_thread():
            raise StudyError("a time limit needs the main thread; train there, or with --jobs 2")
        seconds = 60 * self.time_limit
        before = signal.signal(signal.SIGALRM, _overrun)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        worker = os.getpid() != self.driver
        try:
            with open(os.devnull, "w") as nowhere:
                if worker:
                    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=nowhere)
                yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if worker:
                faulthandler.cancel_dump_traceback_later()


class _Overrun(BaseException):
    """Not an Exception, which code under way might catch."""


def _overrun(number: int, frame: object) -> None:
    raise _Overrun
