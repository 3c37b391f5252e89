"""Write files atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RUNS = Path("dropkit-runs")
"""Where run folders go by default, in the working folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file to write; if the block succeeds, rename the file to ``path``.

    A reader of ``path`` sees the whole old or the whole new content, never a part. This also holds
    after a crash, because the content is written to the disk before the rename.
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
        if isinstance(error, OSError) and error.filename is None:  # e.g. the disk is full
            error.filename = str(path)
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write text (as UTF-8) or bytes to a file atomically, as `replacing` does."""
    content = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as part:
        part.write_bytes(content)


def is_part(file: Path) -> bool:
    """Whether a file is a temporary file of `replacing`."""
    return file.name.startswith(".") and file.name.endswith(".part")


def remove_parts(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder that no other process writes to."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if is_part(file):
            file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Force the renaming to the disk too, on systems that can open a folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
