"""Define `compare`, which turns data into `Results`.

The modules that run a study import slowly, so the functions below import them when needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.errors import StudyError
from dropkit.study.config import DEFAULT_METHODS, Study
from dropkit.study.execution import Execution
from dropkit.study.python_words import raise_in_python_words
from dropkit.study.settings import check_names, from_values, names

if TYPE_CHECKING:
    from dropkit.study.results import Results
    from dropkit.study.training.models import Factory


@raise_in_python_words()
def compare(
    X: Any,
    y: Any = None,
    *,
    model: str | Factory = Study.model,
    methods: Sequence[str] | str = DEFAULT_METHODS,
    seeds: int = Study.seeds,
    X_test: Any = None,
    y_test: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    out: str | Path | None = None,
    jobs: int | None = Execution.jobs,
    progress: bool = False,
    **settings: Any,
) -> Results:
    """Compare regularizers on your own data, with paired seeds and equal budgets.

    Args:
        X: rows as an array, a DataFrame, a torch tensor or data set, or a Hugging Face data set or
            its splits; a list of arrays of unequal length; a dict of several inputs, whose keys are
            the parameter names of the model's ``forward``; or a name or path as on the command
            line.
        y: one or several targets per row; or the name of the column to predict in a DataFrame or
            Hugging Face data set; or a list of columns of a DataFrame.
        model: ``mlp``, ``cnn``, ``file.py:function``, or a function
            ``make(input_shape, n_outputs)`` that returns a new module.
        methods: the regularizers to compare, such as ``"none,dropout(p=0.3)+l1"``; the command
            ``dropkit methods`` lists them all. The baseline is ``none`` if present, otherwise the
            first method.
        seeds: number of random seeds; every method is trained with the same seeds.
        X_test: rows of a fixed test set.
        y_test: their targets.
        X_val: fixed validation rows; by default each seed draws its own.
        y_val: their targets.
        out: run folder, needed to resume an interrupted study; by default nothing is saved.
        jobs: number of parallel runs; by default as many as the cores allow.
        progress: whether to print progress to standard error.
        **settings: any other setting of `Study`, such as ``epochs`` or ``tune``, or of
            `Execution`, such as ``time_limit`` or ``ray``.

    Returns:
        The `Results`; ``print(results)`` gives the verdict, ``results.table()`` the numbers.

    Raises:
        StudyError, DataError: an error that the caller can fix; the message is one line.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 5)).astype("float32")
    >>> results = compare(X, (X[:, 0] > 0).astype(int), methods="none,dropout", seeds=2, epochs=2,
    ...                   hidden=(16,), jobs=1)
    >>> [run.method for run in results.runs]
    ['none', 'none', 'dropout', 'dropout']
    """
    from dropkit.study.methods.parsing import parse_list
    from dropkit.study.prepare import ARRAYS, load_data, prepare_study, read_arrays
    from dropkit.study.rows import row_settings
    from dropkit.study.start import choose_workers, run_prepared
    from dropkit.study.store.folder import parse_folder

    check_names(settings, (*names(Study), *names(Execution)))
    how = {key: settings.pop(key) for key in names(Execution) if key in settings}
    execution = from_values(Execution, {"jobs": jobs, **how})
    by_name = isinstance(X, str | Path)
    study = Study.from_dict(
        {
            "data": str(X) if by_name else ARRAYS,
            "model": model if isinstance(model, str) else _name(model),
            "methods": parse_list(methods) if isinstance(methods, str) else tuple(methods),
            "seeds": seeds,
            **settings,
        }
    )
    parts = {"X_test": X_test, "y_test": y_test, "X_val": X_val, "y_val": y_val}
    if by_name and not all(given is None for given in (y, *parts.values())):
        raise StudyError(
            f"y, {', '.join(parts)} are for arrays; for a file or a known data set pass the "
            "column as target= and files of test and validation rows as test= and val="
        )
    workers = choose_workers(study, execution)
    workers.start()  # while this process reads the data
    data = load_data(study) if by_name else read_arrays(study, X, y, **parts)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run" if out is None else parse_folder(out)
        keep = out is not None and not by_name
        if keep:
            study = replace(study, **row_settings(data, folder))
        prepared = prepare_study(study, data, model, folder)
        return run_prepared(prepared, workers, execution, show=progress, keep=keep)


def _name(model: Factory) -> str:
    return getattr(model, "__qualname__", type(model).__qualname__)
