"""A folder of images with one subfolder per class."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._repeats import with_repeats_told
from dropkit.study.data._target import encode, encode_like

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_GRAY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def load_folder(path: Path, *, test: Path | None = None) -> Data:
    """Read images from ``path/CLASS/*``; with ``path/train`` and ``path/test`` as fixed parts.

    Images are uint8, gray if all of them are, else with three colour channels.
    """
    train = path
    beside: tuple[str, ...] = ()
    if _has_subfolder(path / "train"):  # else it may be the class of trains
        train = path / "train"
        if test is None and (path / "test").is_dir():
            test = path / "test"
        used = {train, test}
        beside = tuple(f"left out the folder {p.name}" for p in _subfolders(path) if p not in used)
    files, labels, notes = _listing(train)
    notes += beside
    if len(set(labels)) < 2:
        raise DataError(_not_a_folder_of_classes(train))
    target = encode(pd.Categorical(labels), "class", "classification")
    count = len(files)
    y_test: Array | None = None
    if test is not None:
        test_files, test_labels, more = _listing(test)
        if not test_files:
            raise DataError(f"the test folder {test} has no class subfolders with images")
        y_test, matched = encode_like(pd.Categorical(test_labels), target)
        files, notes = files + test_files, notes + more + matched
    images = _read(files)
    data = Data(
        path.name or str(path.resolve().name),
        images[:count],
        target.y,
        "classification",
        target.classes,
        "class",
        images[count:] if test is not None else None,
        y_test,
        target.notes + notes,
    )
    return with_repeats_told(data)


def _has_subfolder(path: Path) -> bool:
    return path.is_dir() and any(p.is_dir() for p in path.iterdir())


def _subfolders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")


def _listing(path: Path) -> tuple[list[Path], list[str], tuple[str, ...]]:
    files, labels, other = [], [], []
    for folder in _subfolders(path):
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            if any(part[0] == "." for part in file.relative_to(folder).parts):
                continue  # such as the copies that Jupyter keeps
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


def _read(files: list[Path]) -> Array:
    from PIL import Image  # here, since other data need no Pillow

    pixels: list[Array] = []
    for file in files:
        try:
            with Image.open(file) as image:
                if image.mode not in _GRAY + _COLOUR:
                    raise DataError(
                        f"{file} has pixels of mode {image.mode!r}; convert it to 8 bits a channel"
                    )
                pixels.append(np.asarray(image.convert("L" if image.mode in _GRAY else "RGB")))
        except DataError:
            raise
        except Exception as error:  # Pillow raises many kinds
            raise DataError(f"{file} cannot be read as an image; replace or remove it") from error
        (height, width), (first_height, first_width) = pixels[-1].shape[:2], pixels[0].shape[:2]
        if (height, width) != (first_height, first_width):
            which = {f"{shlex.quote(str(f.parent.parent))}/*/*{f.suffix}" for f in files}
            raise DataError(
                f"images differ in size: {files[0]} is {first_width}x{first_height}, {file} is "
                f"{width}x{height} pixels; resize all to one size, as ImageMagick does in place "
                f"with mogrify -resize '{first_width}x{first_height}!' {' '.join(sorted(which))}"
            )
    if all(image.ndim == 2 for image in pixels):
        return np.stack(pixels)[:, np.newaxis]
    colour = [image if image.ndim == 3 else np.stack([image] * 3, axis=-1) for image in pixels]
    return np.ascontiguousarray(np.stack(colour).transpose(0, 3, 1, 2))
