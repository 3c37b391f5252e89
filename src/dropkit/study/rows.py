"""Rows that came from Python, kept in the run folder for its study file to repeat the study."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dropkit.files import replacing
from dropkit.study.data import Data
from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.reading import KEYS, READINGS


def row_settings(data: Data, folder: Path) -> dict[str, Any]:
    """Return the settings that make a study read the rows that `save_rows` writes."""
    if not hasattr(data.X, "to_parquet"):
        return {"data": str(folder / "data.npz")}
    test = None if data.X_test is None else str(folder / "test.parquet")
    return {"data": str(folder / "data.parquet"), "test": test, "target": data.target}


def save_rows(data: Data, folder: Path) -> None:
    """Write the rows into the folder, tables as Parquet and arrays as one ``.npz`` file."""
    parts = {"data": (data.X, data.y), "test": (data.X_test, data.y_test)}
    if hasattr(data.X, "to_parquet"):
        for name, (X, y) in parts.items():
            if X is not None:
                # As categories, or text that looks like numbers would be read back as numbers.
                text = {column: "category" for column in X if X[column].dtype == object}
                table = X.astype(text).assign(**{data.target: _labels(data, y)})
                # They are features as they are, however their values may look.
                if name == "data" and data.key is not None and data.key_name not in table:
                    table = table.assign(**{data.key_name: data.key})
                    table.attrs[KEYS] = [data.key_name]
                table.attrs[READINGS] = [asdict(reading) for reading in data.columns]
                with replacing(folder / f"{name}.parquet") as part:
                    table.to_parquet(part)
        return
    arrays = {**_by_name(data.X, ""), "y": _labels(data, data.y)}
    if data.X_test is not None:
        arrays |= {**_by_name(data.X_test, "_test"), "y_test": _labels(data, data.y_test)}
    with replacing(folder / "data.npz") as part, part.open("wb") as file:
        np.savez(file, **arrays)


def _by_name(X: Any, end: str) -> dict[str, Any]:
    """The arrays of an archive that are read back as these features."""
    if not isinstance(X, Inputs):
        return {f"X{end}": X}
    arrays: dict[str, Any] = {}
    for name, part in X.items():
        if isinstance(part, Sequences):
            arrays |= {f"{name}{end}": part.taken(), f"{name}_lengths{end}": part.lengths}
        else:
            arrays[f"{name}{end}"] = part
    return arrays


def _labels(data: Data, y: Any) -> Any:
    return np.asarray(data.classes)[y] if data.classes else y
