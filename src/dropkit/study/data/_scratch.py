"""Folders on the disk for rows that do not fit in memory."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

from dropkit.errors import DataError

VARIABLE = "DROPKIT_CACHE"
"""The environment variable that names another place for these folders."""


class Scratch:
    """A folder that is removed when this process needs it no more, or ends.

    It lies in the user's cache and not among temporary files, which are often kept in memory.
    Other processes that are sent it use it and leave it alone.
    """

    def __init__(self) -> None:
        root = _root()
        try:
            root.mkdir(parents=True, exist_ok=True)
            _remove_left_over(root)
            self.path = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=root))
        except OSError as error:
            raise refuse_writing(root, error) from error
        weakref.finalize(self, _remove, self.path, os.getpid())

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}


def refuse_writing(folder: Path, error: OSError) -> DataError:
    """Return the error for rows that could not be written there."""
    return DataError(
        f"cannot write rows to {folder}: {error.strerror or error}; name a folder with more room "
        f"in ${VARIABLE}"
    )


def _root() -> Path:
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    import pooch  # here, since most data fit in memory

    return Path(pooch.os_cache("dropkit")) / "rows"


def _prefix() -> str:
    return f"rows-{platform.node()}-"


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork that ends is not the end
        shutil.rmtree(path, ignore_errors=True)


def _remove_left_over(root: Path) -> None:
    """Remove folders of processes that were killed."""
    for folder in root.glob(f"{_prefix()}*-*"):
        owner = folder.name.removeprefix(_prefix()).partition("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    with suppress(PermissionError):  # another user's
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
