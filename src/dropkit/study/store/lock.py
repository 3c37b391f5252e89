"""Let one process at a time use a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dropkit.errors import StudyError
from dropkit.study.store.manifest import Manifest

NAME = ".lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, or say who is in it.

    The lock is the operating system's and ends with its process, however that ends; the file
    ``.lock`` stays, and says nothing by being there.

    Raises:
        StudyError: another process has the folder.
    """
    lock = FileLock(folder / NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise StudyError(
            f"{folder} is in use by {_holder(folder)}; wait for it to end, or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    with suppress(StudyError):
        if manifest := Manifest.read(folder):
            return f"process {manifest.opened_by.pid} on {manifest.opened_by.host}"
    return "another process"
