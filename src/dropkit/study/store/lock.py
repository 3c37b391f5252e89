"""Lock a run folder, so that one process at a time uses it."""

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
    """Lock a folder against other processes.

    The operating system releases the lock when the process ends, even if it is killed. The file
    ``.lock`` remains; its existence does not mean that the folder is locked.

    Raises:
        StudyError: another process holds the lock; the message names it.
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
