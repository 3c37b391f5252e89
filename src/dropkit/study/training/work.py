"""Define the work of one run, which any process can do."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from dropkit.errors import StudyError
from dropkit.study.config import Study
from dropkit.study.data import Data
from dropkit.study.methods.expression import Expression
from dropkit.study.methods.method import Argument, learning_rate
from dropkit.study.plan import Plan
from dropkit.study.record import DataInfo, Run
from dropkit.study.seeds import name_seed
from dropkit.study.shapes import Shape, describe_shape
from dropkit.study.store.folder import Key
from dropkit.study.training.batches import count_batches
from dropkit.study.training.feeding import feed
from dropkit.study.training.folds import Fold, load_fold
from dropkit.study.training.guard import Failed, guard, resolve
from dropkit.study.training.models import Factory, build, check_outputs, factory, fingerprint
from dropkit.study.training.once import train_once


@dataclass(frozen=True)
class Job:
    """One run that is still to be done; in a search, ``trial`` is the number of the trial.

    ``limits`` holds the losses above which a trial is pruned (see `dropkit.study.tuning.median`),
    so that workers need no information about other trials. In messages, ``folds`` is used to show
    the repetition and fold of a seed.
    """

    method: Expression
    seed: int
    hyperparameters: dict[str, float]
    trial: int | None = None
    limits: tuple[float, ...] = ()
    folds: int | None = None

    @property
    def key(self) -> Key:
        """The key of the run in the run folder."""
        return str(self.method), self.seed, self.trial

    def __str__(self) -> str:
        trial = "" if self.trial is None else f", trial {self.trial + 1}"
        return f"{self.method}, {name_seed(self.seed, self.folds)}{trial}"


class Trains(Protocol):
    """The interface of an object that does a study's runs, in any process."""

    @property
    def study(self) -> Plan: ...

    @property
    def epochs(self) -> int:
        """The largest number of epochs of a run; used to prune trials."""

    def searched(self, method: Expression) -> tuple[Argument, ...]:
        """Return the arguments that the search of a method varies."""

    def __call__(self, job: Job) -> Run | Failed: ...

    def arguments(self, job: Job) -> dict[str, float]:
        """Return the arguments of a run, as its record holds them."""

    def count_epochs(self, run: Run, info: DataInfo) -> int:
        """Return the number of epochs of a run, summed over the networks of an ensemble."""


@dataclass(frozen=True, eq=False)
class Work:
    """Do a `Job` of one study, in any process.

    Args:
        study: the settings, including the number of epochs.
        data: the rows.
        model: the name of a built-in model, ``file.py:function`` or the function.
        time_limit: minutes after which a run is stopped; ``None`` for no limit.
        inputs: the shape of a row with which the model was tried; ``None`` if no model was tried.
    """

    study: Study
    data: Data
    model: str | Factory
    time_limit: float | None = None
    inputs: Shape | None = None
    driver: int = field(default_factory=os.getpid)
    source: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", fingerprint(self.model))
        object.__setattr__(self, "model", resolve(self.model))

    def __call__(self, job: Job) -> Run | Failed:
        """Do a run; see `guard` for the failures that return `Failed`."""
        return guard(
            partial(self._train, job),
            self.model,
            source=self.source,
            threads=self.study.threads,
            time_limit=self.time_limit,
            driver=self.driver,
        )

    def _train(self, job: Job) -> Run:
        make = factory(self.model, self.study.hidden)
        fold = load_fold(self.data, self.study, job.seed)
        self._try_rows(make, fold)
        return train_once(
            self.study,
            make,
            fold,
            job.method,
            job.seed,
            hyperparameters=job.hyperparameters,
            test=job.trial is None,
            limits=job.limits,
        )

    @property
    def epochs(self) -> int:
        return self.study.epochs or 0

    def searched(self, method: Expression) -> tuple[Argument, ...]:
        return (learning_rate(self.study.learning_rate), *method.searched())

    def arguments(self, job: Job) -> dict[str, float]:
        wanted = job.method.arguments() | job.hyperparameters
        return wanted | {"base_lr": wanted.pop("lr", self.study.learning_rate)}

    def count_epochs(self, run: Run, info: DataInfo) -> int:
        return max(1, run.steps // count_batches(info.rows_train, self.study.batch_size))

    def _try_rows(self, make: Factory, fold: Fold) -> None:
        """Raise `StudyError` if the model fails because rows differ in shape from those of seed 0.

        The number of features depends on missing values and rare categories in a seed's training
        rows.
        """
        if self.inputs in (None, fold.inputs):
            return
        rows = fold.x_train[:2]
        try:
            network = feed(build(make, rows, fold.outputs, seed=0), rows)
            check_outputs(network, rows, fold.outputs, fold.task)
        except StudyError as error:
            here, first = describe_shape(fold.inputs), describe_shape(self.inputs or ())
            raise StudyError(
                f"rows are of shape {here} here and {first} with seed 0, since missing values and "
                "rare categories differ between their training rows; let the model function take "
                f"the shape of its inputs ({error})"
            ) from error
