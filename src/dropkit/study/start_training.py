"""Run a study of a user's training function."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from dropkit._mode import on_cpu
from dropkit.errors import StudyError
from dropkit.files import RUNS, write_atomic
from dropkit.study import run as engine
from dropkit.study.execution import Execution
from dropkit.study.methods.own_loop import own_recipe
from dropkit.study.record import DataInfo
from dropkit.study.results import Results
from dropkit.study.settings import to_options
from dropkit.study.start import choose_workers
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.calling import Function, check_signature
from dropkit.study.training.function import FunctionWork
from dropkit.study.training.guard import Failed
from dropkit.study.training.look import Look
from dropkit.study.training.models import fingerprint
from dropkit.study.training_study import TrainingStudy
from dropkit.study.workers.portable import portable
from dropkit.study.workers.protocol import Workers
from dropkit.user_code import load_function

LOOK = "function.json"
"""The file of a run folder that stores the `Look`: what a short first run has shown."""

_LOOK = TypeAdapter(Look)


def check_training(study: TrainingStudy, function: str | Function) -> None:
    """Raise `StudyError` for errors that can be found without training.

    The function must exist and take a `TrainingRun`, and every method must work in a user's own
    loop.
    """
    for method in study.methods:
        own_recipe(method)
    if isinstance(function, str):
        check_signature(load_function(function), function)
    else:
        check_signature(function, study.train)


def training_folder(
    study: TrainingStudy, function: str | Function, out: Path | None = None
) -> RunFolder:
    """Return the run folder of a study, by default named after the function and its source."""
    source = fingerprint(function)
    if out is None:
        out = RUNS / f"{study.name}-{study.digest(source)}"
    return RunFolder(out, study, source)


def training_command(study: TrainingStudy) -> str:
    """Return the shell command that repeats a study, or the Python call if no command can.

    >>> training_command(TrainingStudy(train="train.py:train", seeds=3))
    'dropkit compare train.py:train --seeds 3'
    """
    if not study.is_named:
        return f"dropkit.study.compare_training({study.train}, ...), with the settings below"
    return shlex.join(["dropkit", "compare", study.train, *to_options(study, skip=["train"])])


@on_cpu()
def run_training_study(
    study: TrainingStudy,
    function: str | Function,
    folder: RunFolder,
    execution: Execution,
    workers: Workers | None = None,
    *,
    show: bool = True,
) -> Results:
    """Do the runs that the run folder lacks, and write the results into the folder.

    Args:
        study: the settings.
        function: ``file.py:function`` or the function itself.
        folder: the run folder.
        execution: where and for how long the runs execute.
        workers: the workers that train; by default ``execution`` chooses them.
        show: whether to print progress to standard error.

    Raises:
        StudyError: the function or a run fails; finished runs are kept.
    """
    workers = workers or choose_workers(study, execution)
    given = function if execution.ray is None else portable(function)
    work = FunctionWork(study, given, execution.time_limit)
    with workers, folder.opened():
        look = _read_look(folder.path) or _take_look(work, workers, folder.path)
        work = replace(work, look=look)
        record = engine.run(
            work,
            folder,
            _describe(study, look, folder.fingerprint),
            workers,
            show=show,
            command=training_command(study),
        )
    return Results(record)


def _take_look(work: FunctionWork, workers: Workers, folder: Path) -> Look:
    for _, found in workers.map(work.first_look, [FIRST]):
        if isinstance(found, Failed):
            raise StudyError(found.reason)
        write_atomic(folder / LOOK, _LOOK.dump_json(found, indent=1) + b"\n")
        return found
    raise AssertionError("map yields one result, or raises an error if the worker was lost")


FIRST = "first look"


def _read_look(folder: Path) -> Look | None:
    try:
        return _LOOK.validate_json((folder / LOOK).read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _describe(study: TrainingStudy, look: Look, source: str) -> DataInfo:
    notes: tuple[str, ...] = ()
    if look.difference:
        notes = (
            f"{study.train} is not repeatable: run twice with the same method and seed, its "
            f"{look.difference}. Something random in it does not depend on run.seed, so seeds "
            "are not fully paired.",
        )
    return DataInfo(
        name=study.train,
        task=look.task,
        target="",
        rows_train=0,
        rows_val=0,
        rows_test=look.rows,
        inputs=(),
        outputs=0,
        classes=(),
        fingerprint=source,
        notes=notes,
        constant_value=look.constant,
        measure=look.measure,
    )
