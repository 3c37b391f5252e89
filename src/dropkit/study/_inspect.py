"""Define `inspect`, which shows how `compare` would read data, without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.study.config import DATA_SETTINGS, Study
from dropkit.study.python_words import in_python, raise_in_python_words
from dropkit.study.settings import check_names

if TYPE_CHECKING:
    from dropkit.study.data import Data
    from dropkit.study.inspection import Inspection


@raise_in_python_words()
def inspect(
    X: Any,
    y: Any = None,
    *,
    X_test: Any = None,
    y_test: Any = None,
    X_val: Any = None,
    y_val: Any = None,
    **settings: Any,
) -> Inspection:
    """Read data as `compare` does, and describe how the data were read.

    Args:
        X: rows as an array, a DataFrame, a torch tensor or data set, or a Hugging Face data set or
            its splits; a list of arrays of unequal length, or a dict of several inputs; or a name
            or path as on the command line.
        y: one or several targets per row; or the name of the column to predict in a DataFrame or
            Hugging Face data set; or a list of columns of a DataFrame.
        X_test: rows of a fixed test set.
        y_test: their targets.
        X_val: fixed validation rows.
        y_val: their targets.
        **settings: the settings of `Study` that concern the data, such as ``target`` or ``read``.

    Returns:
        The `Inspection`; ``print(inspect(...))`` shows it.

    Raises:
        StudyError, DataError: an error that the caller can fix; the message is one line.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"price": ["$1,200.50", "$3.00"] * 10, "zip": ["02134", "10001"] * 10})
    >>> print(inspect(rows, ["yes", "no"] * 10))
    data: 20 rows, 2 columns; classification of y
    classes: no 50.0 % (10), yes 50.0 % (10)
    training 12, validation 4, test 4 rows
    repeated rows: 20 of 20 appear more than once
    price: number (in $); 1 feature
    zip: category (leading zeros, as in '02134'); 1 feature
    ! column 'zip' is read as categories: leading zeros, as in '02134'; read="zip=number" changes it
    ! 20 of 20 rows are in the data more than once; copies may end up in both training and test
    """
    from dropkit.study.prepare import ARRAYS, load_data, read_arrays

    check_names(settings, DATA_SETTINGS)
    by_name = isinstance(X, str | Path)
    study = Study.from_dict({"data": str(X) if by_name else ARRAYS, **settings})
    parts = {"X_test": X_test, "y_test": y_test, "X_val": X_val, "y_val": y_val}
    data = load_data(study) if by_name else read_arrays(study, X, y, **parts)
    found = describe_data(data, study)
    return replace(found, notes=tuple(map(in_python, found.notes)))


def describe_data(data: Data, study: Study) -> Inspection:
    """Describe how the data of a study were read and how the rows are split."""
    import numpy as np

    from dropkit.study.data import add_leak_doubts
    from dropkit.study.data._described_inputs import describe_inputs
    from dropkit.study.inputs import shape_of
    from dropkit.study.inspection import Inspection
    from dropkit.study.tasks import TASKS
    from dropkit.study.training.folds import split_in_memory, split_rows

    parts = split_rows(data, study, seed=0)
    if study.folds is not None:
        every = [split_in_memory(data, study, seed) for seed in range(study.folds)]
        data = add_leak_doubts(data, [(each.train, each.test) for each in every])
    rows = {"training": len(parts.train), "validation": len(parts.val)}
    fixed = data.rows_test
    rows["test"] = fixed or 0 if parts.test is None else len(parts.test)
    predicts = TASKS[data.task].predicts
    held: dict[str, Any] = {}
    if predicts == "class":
        counts = data.count_classes(test=True).tolist()
        held["classes"] = tuple(zip(data.classes, counts, strict=True))
    elif data.targets:
        y = data.y if data.y_test is None else np.concatenate([data.y, data.y_test])
        if predicts == "labels":
            held["labels"] = tuple(zip(data.targets, y.sum(0).tolist(), strict=True))
        else:
            ends = y.min(0).tolist(), y.max(0).tolist()
            held["target_ranges"] = tuple(zip(data.targets, *ends, strict=True))
    else:
        held["target_range"] = data.target_range()
    return Inspection(
        name=data.name,
        task=data.task,
        target=data.target,
        rows=data.rows,
        rows_test=fixed,
        parts=rows,
        folds=study.folds,
        inputs=shape_of(data.X),
        arrays=describe_inputs(data.X, study.preprocess),
        repeated=data.repeated,
        columns=data.columns,
        notes=data.notes,
        **held,
    )
