"""`compare`: from data to `Results`, for Python and for the command line alike."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dropkit._mode import on_cpu
from dropkit.errors import StudyError
from dropkit.files import replacing
from dropkit.study import run as engine
from dropkit.study.config import Study
from dropkit.study.data import Data, from_arrays, load
from dropkit.study.execution import Execution
from dropkit.study.methods.expression import parse_list
from dropkit.study.prepare import check, with_epochs
from dropkit.study.results import Results
from dropkit.study.settings import check_names, from_values, names, to_options
from dropkit.study.store.folder import RunFolder, local_folder
from dropkit.study.training.devices import check_devices
from dropkit.study.training.folds import make_fold
from dropkit.study.training.models import (
    BUILT_IN,
    Factory,
    architecture,
    build,
    factory,
    fingerprint,
    named,
)
from dropkit.study.training.work import Work
from dropkit.study.workers.cluster import RayWorkers
from dropkit.study.workers.local import LocalWorkers, Workers, cores
from dropkit.study.workers.portable import portable

ARRAYS = "arrays"  # what rows are called that came from Python


def compare(
    X: Any,
    y: Any = None,
    *,
    model: str | Factory = Study.model,
    methods: Sequence[str] | str = Study.methods,
    seeds: int = Study.seeds,
    X_test: Any = None,
    y_test: Any = None,
    out: str | Path | None = None,
    jobs: int | None = Execution.jobs,
    progress: bool = False,
    **settings: Any,
) -> Results:
    """Compare regularizers on one's own data, with paired seeds and equal budgets.

    Args:
        X: rows as an array, a DataFrame, a torch tensor or data set; or a name or path as on the
            command line.
        y: targets, or the name of the DataFrame's target column.
        model: ``mlp``, ``cnn``, ``file.py:function``, or a function of (input shape, outputs)
            that returns a fresh module.
        methods: method expressions; the first, or ``none``, is the baseline.
        seeds: paired repetitions.
        X_test, y_test: a fixed test set.
        out: run folder, in which an interrupted study resumes; without one nothing is kept.
        jobs: trainings side by side; ``None`` for as many as the cores allow.
        progress: whether progress goes to standard error.
        **settings: any other setting of `Study`, such as ``epochs`` or ``tune``, or of
            `Execution`, such as ``time_limit`` or ``ray``.

    Returns:
        The `Results`; ``print(results)`` gives the verdict, ``results.table()`` the numbers.

    Raises:
        StudyError, DataError: for what the caller can put right, in one line.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 5)).astype("float32")
    >>> results = compare(X, (X[:, 0] > 0).astype(int), methods="none,dropout", seeds=2, epochs=2,
    ...                   hidden=(16,), jobs=1)
    >>> [run.method for run in results.runs]
    ['none', 'none', 'dropout', 'dropout']
    """
    methods = parse_list(methods) if isinstance(methods, str) else tuple(methods)
    by_name = isinstance(X, str | Path)
    name = str(X) if by_name else ARRAYS
    if not isinstance(model, str):
        settings["model"] = getattr(model, "__qualname__", type(model).__qualname__)
    else:
        settings["model"] = model
    check_names(settings, (*names(Study), *names(Execution)))
    how = {key: settings.pop(key) for key in names(Execution) if key in settings}
    execution = from_values(Execution, {"jobs": jobs, **how})
    study = Study.from_dict({"data": name, "methods": methods, "seeds": seeds, **settings})
    if by_name:
        if not all(given is None for given in (y, X_test, y_test)):
            raise StudyError(
                "y, X_test and y_test go with arrays; for a file or a known set name the column "
                "with target= and a file of test rows with test="
            )
        data = load_data(study)
    else:
        for setting in ("target", "test", "header", "data_dir"):
            if getattr(study, setting) is not None:
                raise StudyError(
                    f"{setting}= goes with a file or a known set; arrays take y, X_test and y_test"
                )
        data = from_arrays(
            X, y, X_test=X_test, y_test=y_test, task=study.task, preprocess=study.preprocess
        )
    run = partial(run_study, study, data, model, execution=execution, show=progress)
    if out is not None:
        return run(local_folder(out), keep=not by_name)
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder) / "run")


@on_cpu()
def run_study(
    study: Study,
    data: Data,
    model: str | Factory,
    out: Path | None = None,
    *,
    execution: Execution,
    show: bool = True,
    keep: bool = False,
) -> Results:
    """Check a study, open its run folder and run it; ``keep`` saves the rows there as well."""
    study = with_epochs(study, data)
    info = check(study, data, model)
    if keep and out is not None:
        study = replace(study, **_row_files(data, out))
    folder = run_folder(study, data, model, out)
    workers = _workers(study, execution)
    sent = model if execution.ray is None else portable(model)
    work = Work(study, data, sent, execution.time_limit, info.inputs)
    again = command(study)
    with workers, folder.opened():
        if keep:
            _save_rows(data, folder.path)
        record = engine.run(work, folder, info, workers, show=show, command=again)
    return Results(record)


def _workers(study: Study, execution: Execution) -> Workers:
    """Processes of this machine, or the Ray cluster at an address."""
    together, gpus = study.threads * study.devices, execution.gpus_per_run
    if execution.ray is None:
        check_devices(study.devices)
        return LocalWorkers(execution.jobs or max(1, cores() // together), study.threads)
    if gpus and study.devices not in (1, gpus):
        raise StudyError(f"gpus-per-run must be the {study.devices} devices, got {gpus:g}")
    cpus = together if execution.cpus_per_run is None else execution.cpus_per_run
    return RayWorkers(execution.ray, cpus, gpus or 0)


def load_data(study: Study) -> Data:
    """The data that a study names."""
    return load(
        study.data,
        target=study.target,
        test=study.test,
        task=study.task,
        header=study.header,
        data_dir=study.data_dir,
        preprocess=study.preprocess,
    )


def run_folder(study: Study, data: Data, model: str | Factory, out: Path | None) -> RunFolder:
    """The run folder: ``out``, or one named after the data and all that the numbers depend on."""
    identity = f"{data.fingerprint} {fingerprint(model)}"
    if model not in BUILT_IN:
        fold = make_fold(data, study, seed=0)
        network = build(factory(model, study.hidden), fold.x_train[:2], fold.outputs, seed=0)
        identity += f"-{architecture(network, fold.x_train[:2])}"
    if out is None:
        out = Path("dropkit-runs") / f"{Path(study.data).stem}-{study.digest(identity)}"
    return RunFolder(out, study, identity)


def command(study: Study) -> str:
    """The shell command that repeats a study, without the settings that are defaults.

    There is none for a function as model or for arrays that are not kept, but a call.

    >>> command(Study(data="digits", methods=("none", "dropout(p=0.3)"), seeds=3))
    "dropkit compare digits --methods 'none,dropout(p=0.3)' --seeds 3"
    """
    if not named(study.model):
        return f"dropkit.study.compare(..., model={study.model}), with the settings of study.toml"
    if study.data == ARRAYS:
        return "dropkit.study.compare(X, y, ...), with the settings below"
    return shlex.join(["dropkit", "compare", study.data, *to_options(study, skip=["data"])])


def _row_files(data: Data, folder: Path) -> dict[str, Any]:
    """The settings that make a study read the rows that `_save_rows` writes."""
    if not hasattr(data.X, "to_parquet"):
        return {"data": str(folder / "data.npz")}
    test = None if data.X_test is None else str(folder / "test.parquet")
    return {"data": str(folder / "data.parquet"), "test": test, "target": data.target}


def _save_rows(data: Data, folder: Path) -> None:
    """Keep the rows that came from Python, so that the study's file can repeat it."""
    parts = {"data": (data.X, data.y), "test": (data.X_test, data.y_test)}
    if hasattr(data.X, "to_parquet"):
        for name, (X, y) in parts.items():
            if X is not None:
                # As categories, or text that looks like numbers would be read back as numbers.
                text = {column: "category" for column in X if X[column].dtype == object}
                table = X.astype(text).assign(**{data.target: _labels(data, y)})
                with replacing(folder / f"{name}.parquet") as part:
                    table.to_parquet(part)
        return
    arrays = {"X": data.X, "y": _labels(data, data.y)}
    if data.X_test is not None:
        arrays |= {"X_test": data.X_test, "y_test": _labels(data, data.y_test)}
    with replacing(folder / "data.npz") as part, part.open("wb") as file:
        np.savez(file, **arrays)


def _labels(data: Data, y: Any) -> Any:
    return np.asarray(data.classes)[y] if data.classes else y
