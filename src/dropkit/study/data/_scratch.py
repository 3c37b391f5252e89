"""Create folders on the disk for rows that do not fit in memory."""

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
"""The environment variable that sets another parent folder."""


class Scratch:
    """A folder that is removed when this process ends or no longer uses it.

    The folder is in the user's cache, because temporary files are often kept in memory. Other
    processes that receive this object never remove the folder.
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
    """Return the error for rows that could not be written to a folder."""
    return DataError(
        f"cannot write rows to {folder}: {error.strerror or error}; name a folder with more room "
        f"in ${VARIABLE}"
    )


def _root() -> Path:
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    import pooch  # imported here because most data fit in memory

    return Path(pooch.os_cache("dropkit")) / "rows"


def _prefix() -> str:
    return f"rows-{platform.node()}-"


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # the end of a fork must not remove it
        shutil.rmtree(path, ignore_errors=True)


def _remove_left_over(root: Path) -> None:
    """Remove the folders of killed processes."""
    for folder in root.glob(f"{_prefix()}*-*"):
        owner = folder.name.removeprefix(_prefix()).partition("-")[0]
        if owner.isdigit() and not _is_running(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    with suppress(PermissionError):  # the process belongs to another user
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
