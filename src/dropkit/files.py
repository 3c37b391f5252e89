"""Write files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write, which becomes ``path`` if the block succeeds.

    A reader of ``path`` sees the old content or the new, never a part, also after a crash: the
    content is on the disk before it gets its name.
    """
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


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, whole or not at all (see `replacing`)."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as part:
        part.write_bytes(content)


def is_part(file: Path) -> bool:
    """Whether this is the temporary file of `replacing`."""
    return file.name.startswith(".") and file.name.endswith(".part")


def remove_parts(folder: Path) -> None:
    """Remove the half-written files of killed processes from a folder that nobody else writes."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if is_part(file):
            file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush a file's new name to the disk as well, where a folder can be opened for that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
