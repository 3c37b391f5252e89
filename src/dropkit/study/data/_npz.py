"""Load NumPy archives with ``y`` and either ``X`` or inputs of other names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._arrays import from_arrays
from dropkit.study.data._data import Array, Data
from dropkit.study.data._inputs import BESIDE

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
_BESIDE = (*BESIDE, *(f"{x}_{kind}" for x in "Xx" for kind in BESIDE))
"""Names of arrays that mark the end of the sequences of ``X``."""

_NOT_READ = tuple(f"{x}_{part}" for x in "xy" for part in ("valid", "validation", "dev"))
"""Unsupported names of validation arrays, which are ignored and do not make ``x`` an input."""


def load_npz(
    path: Path,
    *,
    test: Path | None = None,
    val: Path | None = None,
    task: str | None = None,
    preprocess: bool = True,
) -> Data:
    """Read an archive with ``X`` and ``y``, and with fixed parts if it has them.

    Fixed parts are ``X_test`` and ``y_test``, ``X_val`` and ``y_val``, or ``X`` and ``y`` of the
    files ``test`` and ``val``. Names of arrays are not case-sensitive; ``x_train`` and ``y_train``
    mean ``X`` and ``y``. If ``y`` has several columns, an array ``targets`` holds their names.

    Without ``X``, all arrays of numbers except ``y`` are named inputs; ``image_test`` and
    ``image_val`` hold the fixed rows of ``image``. If ``X`` holds sequences, ``lengths`` or
    ``mask`` marks the ends of the sequences. For an input ``words``, the array is called
    ``words_lengths`` or ``words_mask``.
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


def _read(path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the arrays named as arguments of `from_arrays`, and notes on ignored arrays."""
    arrays, names = _load(path)
    roles: dict[str, Any] = {}
    inputs: dict[str, Array] = {}
    for name, array in arrays.items():
        role = _find_role(name, names)
        if role in roles:
            raise DataError(f"{path} holds {role} twice, once as {name}; keep one of them")
        if role is not None:
            roles[role] = array
        elif array.dtype.kind in "buif":
            inputs[name] = array
    roles |= _divide(inputs, roles)
    missing = [role for role in ("X", "y") if role not in roles]
    if missing:
        raise DataError(
            f"{path} has no array {missing[0]!r}; it holds {', '.join(names) or 'nothing'}, "
            "and must hold X and y, or y and inputs by other names"
        )
    for part in _PARTS:
        if (f"X_{part}" in roles) != (f"y_{part}" in roles):
            raise DataError(f"{path} must hold both X_{part} and y_{part}, or neither")
    others = [name for name in names if name not in inputs and _find_role(name, names) is None]
    return roles, ((f"left out the arrays {', '.join(others)}",) if others else ())


def _find_role(name: str, names: Collection[str]) -> str | None:
    """Return the argument of `from_arrays` for an array with a reserved name, or ``None``.

    The name ``x`` is not reserved if there are other inputs: then ``x`` is an input too.
    """
    own, _ = _split_end(name)
    if own == "x" and "x" in names and any(map(_is_free, names)):
        return None
    return _NAMES.get(name.lower())


def _is_free(name: str) -> bool:
    """Return whether an array is a named input, and does not belong to X or y."""
    own, _ = _split_end(name)
    return own not in _BESIDE and own.lower() not in (*_NAMES, *_NOT_READ)


def _divide(inputs: dict[str, Array], roles: dict[str, Any]) -> dict[str, dict[str, Array]]:
    """Return the inputs of the training rows and of each fixed part, by the part's argument."""
    divided: dict[str, dict[str, Array]] = {}
    for name, array in inputs.items():
        own, end = _split_end(name)
        part = f"X{end}"
        given = {"X": roles[part]} if part in roles else {}
        own = own.replace("x_", "X_") if given else own  # x is X
        divided.setdefault(part, given)[own] = array
    return divided


def _split_end(name: str) -> tuple[str, str]:
    """Split an array's name into the input and the suffix of a fixed part, such as ``_test``."""
    end = next((f"_{part}" for part in _PARTS if name.endswith(f"_{part}")), "")
    return name.removesuffix(end), end


def _load(path: Path) -> tuple[dict[str, Array], list[str]]:
    """Return the usable arrays of an archive, and the names of all arrays."""
    arrays: dict[str, Array] = {}
    names: list[str] = []
    entry = ""
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} is one array; save X and y with numpy.savez")
        with archive:
            names = list(archive)
            has_x = any(_find_role(name, names) == "X" for name in names)
            for entry in names:
                is_beside = _split_end(entry)[0] in _BESIDE
                if not has_x or is_beside or _find_role(entry, names):
                    arrays[entry] = archive[entry]
    except (DataError, OSError, MemoryError):
        raise
    except ValueError as error:
        what = f"array {entry!r} of {path}" if entry else str(path)
        raise DataError(
            f"{what} is not stored as plain numbers or text (or the file is no .npz archive); "
            "save arrays of one type, not of objects; of sequences of unequal length save all "
            "steps one after the other as X, and how many each has as lengths"
        ) from error
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise DataError(
            f"{path} is truncated or no .npz archive as numpy.savez writes it: {error}"
        ) from error
    return arrays, names
