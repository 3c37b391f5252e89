"""Load MNIST and Fashion-MNIST, whose files have the idx format."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._fetch import download, given_folder

_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Source:
    """The source of a data set: its address, the MD5 of each archive, and its classes.

    ``folder`` is the name of the set in torchvision.
    """

    url: str
    md5: tuple[str, str, str, str]
    folder: str
    classes: tuple[str, ...]


SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        "MNIST",
        tuple("0123456789"),
    ),
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        "FashionMNIST",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}


def load_idx(name: str, data_dir: Path | None = None) -> Data:
    """Load ``mnist`` or ``fashion-mnist`` with its fixed test set.

    The four files, compressed or not, are looked up in ``data_dir`` or ``$DROPKIT_DATA``: in
    the subfolder named after the set, in the subfolder that torchvision uses, then in the folder
    itself. If neither folder is given, the files are downloaded once and checked by their MD5.
    """
    source = SOURCES[name]
    folder = given_folder(data_dir)
    files = _download(name, source) if folder is None else _find(name, source, folder)
    images, labels, test_images, test_labels = (read_idx(file) for file in files)
    for file, x, y in ((files[0], images, labels), (files[2], test_images, test_labels)):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise DataError(
                f"{file} and its labels do not fit: shapes {x.shape} and {y.shape}; "
                "download them again"
            )
        if y.max(initial=0) >= len(source.classes):
            raise DataError(f"the labels of {file} go up to {y.max()}; {name} has 10 classes")
    return Data(
        name,
        images[:, np.newaxis],
        labels.astype(np.int64),
        "classification",
        source.classes,
        "class",
        test_images[:, np.newaxis],
        test_labels.astype(np.int64),
    )


def read_idx(path: Path) -> Array:
    """Read an idx file of unsigned bytes, compressed with gzip or not.

    Raises:
        DataError: the file is truncated, damaged or of another format.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged ({error}); download it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or not 1 <= raw[3] <= 4:
        raise DataError(
            f"{path} is not an idx file of bytes: it begins with {raw[:4].hex(' ') or 'nothing'}, "
            "expected 00 00 08 and the number of dimensions"
        )
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + int(np.prod(shape))
    if len(raw) != expected:
        raise DataError(
            f"{path} has {len(raw)} bytes, its header promises {expected}; download it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _find(name: str, source: Source, folder: Path) -> list[Path]:
    for place in (folder / name, folder / source.folder / "raw", folder):
        files = [
            next((f for f in (place / part, place / f"{part}.gz") if f.is_file()), None)
            for part in _PARTS
        ]
        present = [file for file in files if file is not None]
        if len(present) == len(_PARTS):
            return present
        if present:
            missing = next(p for p, f in zip(_PARTS, files, strict=True) if f is None)
            raise DataError(f"{place} has {present[0].name} but no {missing}(.gz)")
    raise DataError(
        f"no {_PARTS[0]}(.gz) in {folder / name}, {folder / source.folder / 'raw'} or {folder}; "
        "give the folder that holds it, or no folder to download it"
    )


def _download(name: str, source: Source) -> list[Path]:
    hashes = {f"{part}.gz": f"md5:{md5}" for part, md5 in zip(_PARTS, source.md5, strict=True)}
    return download(name, source.url, hashes)
