"""Save rows given from Python in the run folder, so that the study can be repeated from it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dropkit.files import replacing
from dropkit.study.data import Data
from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.reading import KEYS, READINGS
from dropkit.study.tasks import join_names


def row_settings(data: Data, folder: Path) -> dict[str, Any]:
    """Return the settings with which a study reads the rows that `save_rows` wrote."""
    if not hasattr(data.X, "to_parquet"):
        return {"data": str(folder / "data.npz")}
    test = None if data.X_test is None else str(folder / "test.parquet")
    val = None if data.val_rows is None else str(folder / "val.parquet")
    target = join_names(data.targets) if data.targets else data.target
    return {"data": str(folder / "data.parquet"), "test": test, "val": val, "target": target}


def save_rows(data: Data, folder: Path) -> None:
    """Write the rows into the folder, tables as Parquet and arrays as one ``.npz`` file."""
    # Fixed validation rows always come last.
    fixed = 0 if data.val_rows is None else len(data.val_rows)
    rows = {"data": slice(len(data.y) - fixed), "val": slice(len(data.y) - fixed, None)}
    if not fixed:
        del rows["val"]
    if hasattr(data.X, "to_parquet"):
        for name, part in rows.items():
            key = None if data.key is None else data.key[part]
            _save_table(data, data.X.iloc[part], data.y[part], key, folder / f"{name}.parquet")
        if data.X_test is not None:
            _save_table(data, data.X_test, data.y_test, None, folder / "test.parquet")
        return
    arrays: dict[str, Any] = {}
    for name, part in rows.items():
        end = "" if name == "data" else f"_{name}"
        arrays |= {**_by_name(data.X[part], end), f"y{end}": _labels(data, data.y[part])}
    if data.targets:
        arrays["targets"] = np.array(data.targets)
    if data.X_test is not None:
        arrays |= {**_by_name(data.X_test, "_test"), "y_test": _labels(data, data.y_test)}
    with replacing(folder / "data.npz") as part_file, part_file.open("wb") as file:
        np.savez(file, **arrays)


def _by_name(X: Any, end: str) -> dict[str, Any]:
    """Return the arrays to save, by the names under which they are read back as features."""
    if not isinstance(X, Inputs):
        return {f"X{end}": X}
    arrays: dict[str, Any] = {}
    for name, part in X.items():
        if isinstance(part, Sequences):
            arrays |= {f"{name}{end}": part.taken(), f"{name}_lengths{end}": part.lengths}
        else:
            arrays[f"{name}{end}"] = part
    return arrays


def _save_table(data: Data, X: Any, y: Any, key: Any, path: Path) -> None:
    # Save text as categories; otherwise text that looks like numbers is read back as numbers.
    text = {column: "category" for column in X if X[column].dtype == object}
    table = X.astype(text).assign(**_name_targets(data, y))
    # Reading the table back must not interpret the features again; see `READINGS`.
    if key is not None and data.key_name not in table:
        table = table.assign(**{data.key_name: key})
        table.attrs[KEYS] = [data.key_name]
    table.attrs[READINGS] = [asdict(reading) for reading in data.columns]
    with replacing(path) as part:
        table.to_parquet(part)


def _name_targets(data: Data, y: Any) -> dict[str, Any]:
    if not data.targets:
        return {data.target: _labels(data, y)}
    return dict(zip(data.targets, y.T, strict=True))


def _labels(data: Data, y: Any) -> Any:
    return np.asarray(data.classes)[y] if data.classes else y
