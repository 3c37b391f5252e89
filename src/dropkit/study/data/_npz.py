"""NumPy archives with ``X`` and ``y``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._arrays import from_arrays
from dropkit.study.data._data import Array, Data

_NAMES = {
    "x": "X",
    "y": "y",
    "x_train": "X",
    "y_train": "y",
    "x_test": "X_test",
    "y_test": "y_test",
    "x_val": "X_val",
    "y_val": "y_val",
    "targets": "targets",
}
_PARTS = {"test": "test set", "val": "validation set"}


def load_npz(
    path: Path,
    *,
    test: Path | None = None,
    val: Path | None = None,
    task: str | None = None,
    preprocess: bool = True,
) -> Data:
    """Read an archive that holds ``X`` and ``y``, and fixed parts if it has them.

    These are ``X_test`` and ``y_test``, ``X_val`` and ``y_val``, or the ``X`` and ``y`` of files.

    Upper and lower case are the same; ``x_train`` and ``y_train`` are taken as well. ``targets``
    are the names of the columns of ``y``, if there are several.
    """
    arrays, notes = _read(path)
    for part, file in (("test", test), ("val", val)):
        if file is None:
            continue
        if f"X_{part}" in arrays:
            raise DataError(f"{path} holds a {_PARTS[part]} already; leave the {part} file out")
        if file.suffix.lower() != ".npz":
            raise DataError(
                f"{file} is not an .npz archive; the {_PARTS[part]} must be of the same kind"
            )
        held_out, _ = _read(file)
        arrays |= {f"X_{part}": held_out["X"], f"y_{part}": held_out["y"]}
    y = arrays["y"]
    if "targets" in arrays:
        y = _name_columns(path, y, arrays["targets"])
    data = from_arrays(
        arrays["X"],
        y,
        X_test=arrays.get("X_test"),
        y_test=arrays.get("y_test"),
        X_val=arrays.get("X_val"),
        y_val=arrays.get("y_val"),
        task=task,
        name=path.name,
        preprocess=preprocess,
    )
    return replace(data, notes=data.notes + notes)


def _name_columns(path: Path, y: Array, names: Array) -> pd.DataFrame:
    if y.ndim != 2 or names.shape != (y.shape[1],):
        raise DataError(
            f"{path} must hold a name in targets for each column of y, got {names.shape} names for "
            f"y of shape {y.shape}"
        )
    return pd.DataFrame(y, columns=[str(name) for name in names])


def _read(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """The arrays by the names that `from_arrays` has for them, and what was left out."""
    arrays: dict[str, Array] = {}
    entry = ""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} is one array; save X and y with numpy.savez")
        with archive:
            found = list(archive)
            for entry in found:
                name = _NAMES.get(entry.lower())
                if name in arrays:
                    raise DataError(f"{path} holds {name} twice, once as {entry}; keep one of them")
                if name is not None:
                    arrays[name] = archive[entry]
    except (DataError, OSError, MemoryError):
        raise
    except ValueError as error:
        what = f"array {entry!r} of {path}" if entry else str(path)
        raise DataError(
            f"{what} is not stored as plain numbers or text (or the file is no .npz archive); "
            "save arrays of one type, not of objects"
        ) from error
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise DataError(
            f"{path} is truncated or no .npz archive as numpy.savez writes it: {error}"
        ) from error
    missing = [name for name in ("X", "y") if name not in arrays]
    if missing:
        raise DataError(
            f"{path} has no array {missing[0]!r}; it holds {', '.join(found) or 'nothing'}, "
            "and must hold X and y"
        )
    for part in _PARTS:
        if (f"X_{part}" in arrays) != (f"y_{part}" in arrays):
            raise DataError(f"{path} must hold both X_{part} and y_{part}, or neither")
    others = [name for name in found if name.lower() not in _NAMES]
    return arrays, ((f"left out the arrays {', '.join(others)}",) if others else ())
