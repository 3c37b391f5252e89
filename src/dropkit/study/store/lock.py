"""One process at a time on a local run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dropkit.errors import StudyError
from dropkit.files import Place
from dropkit.study.store.manifest import Manifest

NAME = ".lock"


@contextmanager
def alone(folder: Place) -> Iterator[None]:
    """Keep other processes out of a local folder, or say who is in it.

    The lock is the operating system's and ends with its process, however that ends; the file
    ``.lock`` stays, and says nothing by being there. Remote places have no locks: their
    processes work side by side, since equal studies have equal results and files are put whole.

    Raises:
        StudyError: another process has the folder.
    """
    if not isinstance(folder, Path):
        yield
        return
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
