"""Complete the settings of a study, and check that the study can run before it writes files."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy.typing as npt

from dropkit._mode import on_cpu
from dropkit.errors import StudyError
from dropkit.files import RUNS
from dropkit.study.answers import answers_of
from dropkit.study.config import Study
from dropkit.study.data import Data, add_leak_doubts, from_arrays, load
from dropkit.study.metrics import choose_metric
from dropkit.study.record import DataInfo
from dropkit.study.record.measure import DEFAULTS
from dropkit.study.record.predictions import Tested
from dropkit.study.settings import to_options
from dropkit.study.settling import (
    add_companions,
    note_last_layer,
    note_metric,
    settle_epochs,
    settle_metric,
)
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.folds import (
    Fold,
    load_fold,
    make_targets,
    split_in_memory,
)
from dropkit.study.training.models import (
    Factory,
    fingerprint,
)
from dropkit.study.trying import try_method, try_model

ARRAYS = "arrays"  # the name of data that came from Python


@dataclass(frozen=True)
class Prepared:
    """A study that is ready to run.

    Args:
        study: the complete settings, including the number of epochs.
        data: the rows.
        model: the name or the function that builds the network.
        info: the description of the data for readers of the results.
        tested: the targets of the test rows.
        folder: the run folder, to which nothing is written yet.
    """

    study: Study
    data: Data
    model: str | Factory
    info: DataInfo
    tested: Tested
    folder: RunFolder

    @property
    def command(self) -> str:
        """The shell command that repeats the study, or the Python call if no command can."""
        return command(self.study)


@on_cpu()
def prepare_study(
    study: Study, data: Data, model: str | Factory, out: Path | None = None
) -> Prepared:
    """Complete the settings, and try everything that a run needs.

    Methods are added where a comparison needs them. If the user's model contains dropout, the
    unchanged model is compared too. If a method takes larger steps, the baseline with the same
    steps is compared too.

    The rows are split once. The model is built twice, to check that the two networks share no
    parameters.

    Args:
        study: the settings.
        data: the rows.
        model: ``mlp``, ``cnn``, ``file.py:function`` or a function.
        out: the run folder; ``None`` for a folder named after the data and every setting that
            affects results.

    Raises:
        StudyError: the rows cannot be split, the model does not fit them, or a method cannot be
            applied to the model.
    """
    data = data.with_rows_read()
    asked, study = study, settle_metric(settle_epochs(study, data), data)
    fold = load_fold(data, study, seed=0)
    network, outputs, look = try_model(study, data, model, fold)
    study = add_companions(study, network)
    for method in study.methods:
        try_method(method, study, network, fold)
    notes = *note_metric(asked, study, data), *note_last_layer(outputs, data.task)
    info = _describe(study, data, fold, notes)
    loss = fingerprint(study.loss) if study.loss is not None and ":" in study.loss else ""
    identity = f"{data.fingerprint} {fingerprint(model)}{look}{loss}"
    if out is None:
        out = RUNS / f"{Path(study.data).stem}-{study.digest(identity)}"
    tested = Tested(fold.own_targets("test"))
    if study.folds is not None:
        tested = Tested(data.y, partial(_find_test_rows, data, study))
    return Prepared(study, data, model, info, tested, RunFolder(out, study, identity))


def load_data(study: Study) -> Data:
    """Load the data that a study names."""
    return load(
        study.data,
        target=study.target,
        test=study.test,
        task=study.task,
        header=study.header,
        data_dir=study.data_dir,
        preprocess=study.preprocess,
        read=study.kinds,
        val=study.val,
        image_size=study.image_size,
        stream=study.stream,
        time=study.time_column,
        group=study.group,
    )


def read_arrays(study: Study, X: Any, y: Any, **parts: Any) -> Data:
    """Read rows given from Python, with fixed test or validation rows in ``parts``."""
    for setting in ("target", "test", "val", "header", "data_dir", "stream"):
        if getattr(study, setting) is not None:
            raise StudyError(
                f"{setting}= is for a file or a known data set; arrays take y, X_test, "
                "y_test, X_val and y_val"
            )
    return from_arrays(
        X,
        y,
        **parts,
        image_size=study.image_size,
        task=study.task,
        preprocess=study.preprocess,
        read=study.kinds,
        time=study.time_column,
        group=study.group,
    )


def command(study: Study) -> str:
    """Return the shell command that repeats a study, without default settings.

    If the model is a function, or arrays were not saved, return the Python call instead.

    >>> command(Study(data="digits", methods=("none", "dropout(p=0.3)"), seeds=3))
    "dropkit compare digits --methods 'none,dropout(p=0.3)' --seeds 3"
    """
    if not study.is_named:
        return f"dropkit.study.compare(..., model={study.model}), with the settings of study.toml"
    if study.data == ARRAYS:
        return "dropkit.study.compare(X, y, ...), with the settings below"
    return shlex.join(["dropkit", "compare", study.data, *to_options(study, skip=["data"])])


def _find_test_rows(data: Data, study: Study, seed: int) -> npt.NDArray[Any]:
    rows = split_in_memory(data, study, seed).test
    assert rows is not None, "folds are drawn from the rows"
    return rows


def _describe(study: Study, data: Data, fold: Fold, notes: tuple[str, ...]) -> DataInfo:
    measure = None if study.metric is None else choose_metric(study.metric, data.task).measure
    folds = [fold]
    if study.folds is not None:
        parts = [split_in_memory(data, study, seed) for seed in range(study.folds)]
        data = add_leak_doubts(data, [(each.train, each.test) for each in parts])
        folds = [make_targets(data, study, each) for each in parts]
    return DataInfo(
        name=data.name,
        task=data.task,
        target=data.target,
        rows_train=round(fmean(each.rows_train for each in folds)),
        rows_val=round(fmean(len(each.y_val) for each in folds)),
        rows_test=sum(len(each.y_test) for each in folds),
        inputs=fold.inputs,
        outputs=fold.outputs,
        classes=tuple(data.classes),
        fingerprint=data.fingerprint,
        notes=(*data.notes, *notes),
        doubts=tuple(data.doubts),
        constant_value=fmean(_constant_value(each, "test") for each in folds),
        constant_train_value=fmean(_constant_value(each, "train") for each in folds),
        columns=data.columns,
        measure=measure or DEFAULTS[data.task],
        targets=data.targets,
        units=fold.units,
    )


def _constant_value(fold: Fold, part: str) -> float:
    """Return the score of always predicting the class frequencies, or the mean, of training rows.

    The predicted class is then the most frequent one.
    """
    answer = answers_of(fold.task).constant(fold.y_train, fold.outputs)
    return fold.score(answer.expand(len(fold.target(part)), -1), part)[0].value
