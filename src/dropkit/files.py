"""Files written whole or not at all, in a local folder or at any address that fsspec reaches."""

from __future__ import annotations

import glob
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from dropkit.errors import StudyError

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "Path | UPath"
_P = TypeVar("_P", bound="Path | UPath")

_AT_ONCE = 1000  # remote files asked for together: enough to hide the latency, little to hold


def locate(where: str | Place) -> Place:
    """The place that a path or an address such as ``s3://bucket/folder`` names.

    Local paths, and ``file://`` addresses, are plain `pathlib.Path`; any other address is a
    ``UPath`` of universal-pathlib. Raises `StudyError` for a protocol that is unknown or whose
    package is missing.

    >>> locate("file:///tmp/run").as_posix()
    '/tmp/run'
    """
    if not isinstance(where, str):
        return _anew(where)
    protocol, separator, rest = where.partition("://")
    if not separator:
        return Path(where)
    if protocol in ("file", "local"):
        return Path(rest)
    try:
        from upath import UPath
    except ModuleNotFoundError:
        raise StudyError(
            f"{where} needs universal-pathlib: pip install 'dropkit[remote]' has it"
        ) from None
    with reached(where), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a protocol without a class of its own
        return _anew(UPath(where))


@contextmanager
def reached(place: str | Place) -> Iterator[None]:
    """Say in one line why a remote place cannot be used; errors of local ones pass unchanged.

    Every file system has exceptions of its own, so all of them are meant.
    """
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        if isinstance(place, Path):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, NotImplementedError):
            reason = "files of this kind can be read alone"
        raise StudyError(f"cannot use {place}: {reason}") from error


@contextmanager
def replacing(path: Place) -> Iterator[Path]:
    """A temporary local file to write, which becomes ``path`` if the block succeeds.

    A reader of a local ``path`` sees the old content or the new, never a part, also after a
    crash: the content is on the disk before it gets its name. A remote file is put in one
    operation, which object stores carry out wholly or not at all; on other remote systems a
    reader may see a part while it is written, and a broken connection may leave one.
    """
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / path.name
            yield part
            _put(path, part.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say where
            error.filename = str(path)
        raise


def write_atomic(path: Place, content: str | bytes) -> None:
    """Write a file, text as UTF-8, whole or not at all (see `replacing`)."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    if not isinstance(path, Path):
        _put(path, content)
        return
    with replacing(path) as part:
        part.write_bytes(content)


def make_folder(folder: Place) -> None:
    """Make a folder where there are folders; an object store has names with slashes instead.

    There it would make the bucket, and a bucket that is missing is more likely misspelt.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    elif not _is_object_store(folder):
        with reached(folder):
            folder.mkdir(parents=True, exist_ok=True)


def is_part(file: Place) -> bool:
    """Whether this is the temporary file of `replacing`."""
    return file.name.startswith(".") and file.name.endswith(".part")


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder that nobody else writes."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if is_part(file):
            file.unlink(missing_ok=True)


def read_all(files: Iterable[Place]) -> Iterator[bytes | Exception]:
    """The content of each file, or why it cannot be read; remote ones many at a time."""
    left = iter(files)
    while some := list(islice(left, _AT_ONCE)):
        yield from _read_some(some)


def sizes(folder: Place) -> dict[str, int]:
    """The files below a folder, hidden ones left out, as relative names, and their bytes."""
    if isinstance(folder, Path):
        found = dict(_local_sizes(folder, depth=2))
    else:
        with reached(folder):
            below = _anew(folder).fs.find(folder.path, maxdepth=2, detail=True)
        start = len(folder.path.rstrip("/")) + 1
        found = {name[start:]: int(known["size"] or 0) for name, known in below.items()}
    return {k: v for k, v in found.items() if k and not any(p[:1] == "." for p in k.split("/"))}


def _local_sizes(folder: Path, depth: int) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield entry.name, entry.stat().st_size
            elif depth > 1 and entry.is_dir():
                for name, size in _local_sizes(Path(entry.path), depth - 1):
                    yield f"{entry.name}/{name}", size


def _sync_folder(folder: Path) -> None:
    """Bring a file's new name to the disk as well, where folders can be opened for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _anew(place: _P) -> _P:
    """The place, with what is remembered of its listings forgotten: others may write there."""
    if not isinstance(place, Path):
        place.fs.invalidate_cache()
    return place


def _is_object_store(place: UPath) -> bool:
    from upath.implementations.cloud import CloudPath

    return isinstance(place, CloudPath)


def _put(path: UPath, content: bytes) -> None:
    make_folder(path.parent)
    with reached(path):
        path.fs.pipe_file(path.path, content)


def _read_some(files: Sequence[Place]) -> Iterable[bytes | Exception]:
    first = _anew(files[0])
    if isinstance(first, Path) or not first.fs.async_impl or glob.has_magic(first.path):
        return map(_read, files)  # one by one; `cat` takes [ and * for patterns
    with reached(first.parent):
        names = [file.path for file in cast("Sequence[UPath]", files)]
        content = first.fs.cat(names, on_error="return")
    return [content[name] for name in names]


def _read(file: Place) -> bytes | Exception:
    try:
        return file.read_bytes()
    except Exception as error:
        return error
