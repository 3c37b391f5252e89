"""Load a folder of images with one subfolder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._images import read_images
from dropkit.study.data._repeats import add_repeat_doubts
from dropkit.study.data._streamed_images import are_large, stream_images
from dropkit.study.data._target import Target, encode, encode_like

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_VALIDATION = ("val", "valid", "validation")


def load_folder(
    path: Path,
    *,
    test: Path | None = None,
    val: Path | None = None,
    size: int | None = None,
    stream: bool | None = None,
) -> Data:
    """Read images from ``path/CLASS/*``, or from ``path/train``, ``val`` and ``test``.

    The folders ``val`` and ``test`` become fixed parts. Images are uint8, with one channel if all
    of them are gray, otherwise three. ``size`` resizes images to one height and width. With
    ``stream``, images are read in pieces; with ``None``, only large collections are read in pieces.
    """
    train = path
    beside: tuple[str, ...] = ()
    if _has_subfolder(path / "train"):  # without subfolders, train may be a class
        train = path / "train"
        if test is None and (path / "test").is_dir():
            test = path / "test"
        if val is None:
            val = next((p for name in _VALIDATION if (p := path / name).is_dir()), None)
        used = {train, val, test}
        beside = tuple(f"left out the folder {p.name}" for p in _subfolders(path) if p not in used)
    files, labels, notes = _list_images(train)
    notes += beside
    if len(set(labels)) < 2:
        raise DataError(_not_a_folder_of_classes(train))
    target = encode(pd.Categorical(labels), "class", "classification")
    y, val_rows = target.y, None
    fixed: dict[str, range] = {}
    if val is not None:
        val_files, val_y, more = _list_images_like(val, target, "validation")
        fixed["val"] = range(len(files), len(files) + len(val_files))
        val_rows = np.asarray(fixed["val"])
        files, y, notes = files + val_files, np.concatenate([y, val_y]), notes + more
    count = len(files)
    y_test: Array | None = None
    if test is not None:
        test_files, y_test, more = _list_images_like(test, target, "test")
        fixed["test"] = range(count, count + len(test_files))
        files, notes = files + test_files, notes + more
    if are_large(files, size) if stream is None else stream:
        y = y if y_test is None else np.concatenate([y, y_test])
        name, notes = path.resolve().name, target.notes + notes
        return stream_images(name, files, y, target.classes, fixed, size, notes)
    images, odd = read_images(files, size)
    data = Data(
        path.name or str(path.resolve().name),
        images[:count],
        y,
        "classification",
        target.classes,
        "class",
        images[count:] if test is not None else None,
        y_test,
        target.notes + notes + odd,
        val_rows=val_rows,
    )
    return add_repeat_doubts(data)


def _list_images_like(
    path: Path, target: Target, part: str
) -> tuple[list[Path], Array, tuple[str, ...]]:
    """Return the files of another part, labelled with the classes of the training part."""
    files, labels, notes = _list_images(path)
    if not files:
        raise DataError(f"the {part} folder {path} has no class subfolders with images")
    y, matched = encode_like(pd.Categorical(labels), target)
    return files, y, notes + matched


def _has_subfolder(path: Path) -> bool:
    return path.is_dir() and any(p.is_dir() for p in path.iterdir())


def _subfolders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")


def _list_images(path: Path) -> tuple[list[Path], list[str], tuple[str, ...]]:
    files, labels, other = [], [], []
    for folder in _subfolders(path):
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            if any(part[0] == "." for part in file.relative_to(folder).parts):
                continue  # such as Jupyter's checkpoint copies
            if file.suffix.lower() in SUFFIXES:
                files.append(file)
                labels.append(folder.name)
            else:
                other.append(file)
    notes = (f"ignored {len(other)} files that are no images, such as {other[0]}",) if other else ()
    return files, labels, notes


def _not_a_folder_of_classes(path: Path) -> str:
    if (path / "results.json").is_file() or (path / "study.toml").is_file():
        return (
            f"{path} is the folder of a study, not data; compare {path / 'study.toml'} repeats "
            f"the study, report {path} rebuilds its report"
        )
    found = sorted(p.name for p in path.iterdir())
    wanted = "must hold at least two class subfolders with images"
    if not found:
        return f"{path} is empty; a folder of images {wanted}"
    tables = [name for name in found if name.endswith((".csv", ".tsv", ".parquet", ".npz"))]
    if tables:
        return f"{path} {wanted}; for the file in it, give {path / tables[0]}"
    return f"{path} {wanted}; it holds {', '.join(found[:5])}{', …' if len(found) > 5 else ''}"
