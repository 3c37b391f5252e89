"""Load data by name or path."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from dropkit.errors import DataError
from dropkit.study.data._data import Data
from dropkit.study.data._dna import load_dna
from dropkit.study.data._folder import load_folder
from dropkit.study.data._fsdd import load_fsdd
from dropkit.study.data._idx import SOURCES, load_idx
from dropkit.study.data._keys import Key
from dropkit.study.data._newsgroups import load_newsgroups
from dropkit.study.data._npz import load_npz
from dropkit.study.data._sst2 import load_sst2
from dropkit.study.data._streamed_table import is_large, load_streamed_table
from dropkit.study.data._table import SUFFIXES, load_table
from dropkit.study.tasks import TASKS
from dropkit.text import nearest

KNOWN: dict[str, Callable[[Path | None], Data]] = {
    **{name: partial(load_idx, name) for name in SOURCES},
    "fsdd": load_fsdd,
    "20ng-bow": load_newsgroups,
    "dna": load_dna,
    "sst-2": load_sst2,
}
BUILT_IN = ("digits", *KNOWN)


def load(
    source: str | os.PathLike[str],
    *,
    target: str | int | Sequence[str | int] | None = None,
    test: str | os.PathLike[str] | None = None,
    task: str | None = None,
    header: bool | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    preprocess: bool = True,
    read: Mapping[str, str] | None = None,
    time: str | None = None,
    group: str | None = None,
    val: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    stream: bool | None = None,
) -> Data:
    """Load data by name or path.

    Args:
        source: ``"digits"``, ``"mnist"``, ``"fashion-mnist"``, ``"fsdd"`` (spoken digits),
            ``"20ng-bow"`` (newsgroup posts), ``"dna"`` (splice junctions) or ``"sst-2"`` (film
            reviews as word numbers, for ``preprocess=False``); a ``.csv``, ``.tsv``, ``.txt`` or
            ``.parquet`` table; an ``.npz`` archive with ``X`` and ``y``; or a folder of images with
            one subfolder per class.
        target: the column of a table to predict: its name, or its position (1 is the first, -1 the
            last); or several, joined by commas. ``None`` takes a column called target, label, class
            or y, else the last.
        test: a file (or folder) of the same kind with the fixed test set.
        task: ``"classification"``, ``"regression"``, ``"multi-label"`` or ``"multi-output"``;
            ``None`` infers it from the target.
        header: whether a text table begins with column names; ``None`` detects it.
        data_dir: the folder with the files of known data sets; by default ``$DROPKIT_DATA``.
            Without a folder, the files are downloaded.
        preprocess: whether the data will be standardized and encoded. If not, a table must hold
            only numbers without missing values, and arrays keep their shape and kind of numbers.
        read: the kinds of some columns of a table, such as ``{"zip": "category"}``; other columns
            are read by their values. `dropkit.study.reading.KINDS` lists the kinds.
        time: the column of a table with the time of each row, for a split by time; ``""`` takes the
            only column of dates.
        group: the column of a table with the group of each row, for a split by group; it is not
            used as a feature.
        val: a file (or folder) of the same kind with a fixed validation set.
        image_size: the height and width of a folder's images: the shorter side is resized to this
            length, and the longer side is cropped to its middle.
        stream: whether to read a Parquet table or a folder of images in pieces, so that it need not
            fit in memory; ``None`` does so for large data.

    Returns:
        The data; its notes say what was assumed.

    Raises:
        DataError: the data cannot be read or used; the message says how to fix it.

    Example:
        >>> data = load("digits")
        >>> data.X.shape, data.task, len(data.classes)
        ((1797, 1, 8, 8), 'classification', 10)
    """
    path = Path(source)
    tabular = path.suffix.lower() in SUFFIXES
    built_in = str(source) in BUILT_IN
    for name, value, applies in (
        ("target", target, tabular),
        ("header", header, tabular and path.suffix.lower() != ".parquet"),
        ("task", task, tabular or path.suffix.lower() == ".npz"),
        ("test", test, not built_in),
        ("data_dir", data_dir, built_in),
        ("read", read or None, tabular),
        ("time", time, tabular),
        ("group", group, tabular),
        ("val", val, not built_in),
        ("image_size", image_size, path.is_dir() and not built_in),
        ("stream", stream, path.suffix.lower() == ".parquet" or (path.is_dir() and not built_in)),
    ):
        if value is not None and not applies:
            raise DataError(f"{name} has no meaning for {str(source)!r}; leave it out")
    if source == "digits":
        return _digits()
    try:
        if str(source) in KNOWN:
            return KNOWN[str(source)](None if data_dir is None else Path(data_dir))
        key = None if time is None else Key("time", time)
        key = key if group is None else Key("group", group)
        return _from_path(
            path, target, test, task, header, preprocess, read, key, val, image_size, stream
        )
    except OSError as error:
        raise DataError(
            f"cannot read {error.filename or path}: {error.strerror or error}"
        ) from error
    except MemoryError as error:
        raise DataError(f"{path} takes more memory than there is") from error


def _from_path(
    path: Path,
    target: str | int | Sequence[str | int] | None,
    test: str | os.PathLike[str] | None,
    task: str | None,
    header: bool | None,
    preprocess: bool,
    read: Mapping[str, str] | None,
    key: Key | None,
    val: str | os.PathLike[str] | None,
    image_size: int | None,
    stream: bool | None,
) -> Data:
    held_out = None if test is None else _check_exists(Path(test))
    validation = None if val is None else _check_exists(Path(val))
    path = _check_exists(path)
    if path.is_dir():
        return load_folder(path, test=held_out, val=validation, size=image_size, stream=stream)
    several = _has_several(target, task)
    if path.suffix.lower() == ".parquet" and stream is None:
        stream = key is None and preprocess and not several and is_large(path)
    if path.suffix.lower() == ".parquet" and stream:
        _refuse_in_pieces(key, preprocess, several)
        assert target is None or isinstance(target, str | int)  # or there are several
        return load_streamed_table(
            path, target=target, test=held_out, val=validation, task=task, read=read
        )
    if path.suffix.lower() in SUFFIXES:
        return load_table(
            path,
            target=target,
            test=held_out,
            task=task,
            header=header,
            preprocess=preprocess,
            read=read,
            key=key,
            val=validation,
        )
    if path.suffix.lower() == ".npz":
        return load_npz(path, test=held_out, val=validation, task=task, preprocess=preprocess)
    known = ", ".join((*SUFFIXES, ".npz"))
    zipped = path.suffix.lower() == ".gz"
    first = f"unpack it with gunzip -k {shlex.quote(str(path))}, or " if zipped else ""
    raise DataError(
        f"{path} is of no known kind; {first}give a file ending in {known}, or a folder"
    )


def _has_several(target: str | int | Sequence[str | int] | None, task: str | None) -> bool:
    """Return whether the arguments ask for several targets, before a table is read."""
    if task is not None and task in TASKS and TASKS[task].is_several:
        return True
    return "," in target if isinstance(target, str) else isinstance(target, Sequence)


def _refuse_in_pieces(key: Key | None, preprocess: bool, several: bool) -> None:
    """Raise `DataError` for options that need the whole table in memory."""
    if several:
        raise DataError(
            "several targets need all rows in memory; read them at once with --no-stream"
        )
    if key is not None:
        raise DataError(
            f"a split by {key.kind} needs all rows in memory; read them at once with --no-stream"
        )
    if not preprocess:
        raise DataError(
            "a table that is read in pieces is preprocessed; leave preprocessing on, or read it at "
            "once with --no-stream"
        )


def _digits() -> Data:
    bunch = load_digits()
    X = (bunch.images[:, np.newaxis] / 16.0).astype(np.float32)
    classes = tuple(str(label) for label in bunch.target_names)
    return Data("digits", X, bunch.target.astype(np.int64), "classification", classes, "digit")


def _check_exists(path: Path) -> Path:
    if path.exists():
        return path
    if not path.parent.is_dir():
        raise DataError(f"no file {path}: there is no folder {path.parent}")
    names = sorted(p.name for p in path.parent.iterdir())
    names += BUILT_IN if str(path.parent) == "." else ()
    raise DataError(f"no file {str(path)!r}: {nearest(path.name, names)}")
