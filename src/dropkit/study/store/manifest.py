"""Read and write ``manifest.json``, the state of the study in a run folder."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

import dropkit
from dropkit.errors import StudyError, first_line
from dropkit.files import write_atomic

NAME = "manifest.json"


@dataclass(frozen=True)
class Opener:
    """The process that last opened the folder."""

    pid: int
    host: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``, written when a study starts and when it is complete.

    It is not updated in between, so that every run writes only its own file. Fields that other
    versions write are ignored.

    Args:
        state: ``"incomplete"`` if the study is running or was stopped, or ``"complete"``.
        asked: number of runs of the study, including trials of tuning.
        done: number of runs that were finished when the manifest was written.
        trained_with: the versions of dropkit and torch that trained the runs; the current ones are
            last.
        compared: the methods of every completed study, in order.
        looks: the numbers of seeds of completed studies, each once; the latest is last.
        opened_by: the process that wrote the manifest.
    """

    format: Literal["dropkit-manifest/1"] = "dropkit-manifest/1"
    dropkit: str = field(default_factory=lambda: dropkit.__version__)
    state: Literal["incomplete", "complete"]
    asked: int
    done: int
    trained_with: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    opened_by: Opener = field(default_factory=lambda: Opener(os.getpid(), platform.node()))

    def write(self, folder: Path) -> None:
        """Write the manifest into its folder."""
        write_atomic(folder / NAME, _MANIFEST.dump_json(self, indent=1) + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """Read a folder's manifest (``None`` if missing); raise `StudyError` if it is damaged."""
        file = folder / NAME
        try:
            return _MANIFEST.validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StudyError(
                f"cannot read {file}: {first_line(error)}; run the study again, which keeps "
                "finished runs"
            ) from error


def read_history(folder: Path) -> Manifest | None:
    """Read a folder's manifest; return ``None`` if it is missing or damaged."""
    try:
        return Manifest.read(folder)
    except StudyError:
        return None


def list_versions(folder: Path) -> tuple[str, ...]:
    """List the versions that trained runs in a folder; the current versions are last."""
    known = read_history(folder)
    before = known.trained_with if known else ()
    return (*(versions for versions in before if versions != _versions()), _versions())


def _versions() -> str:
    """Return the versions that the numbers of a run depend on."""
    return f"dropkit {dropkit.__version__}, torch {version('torch')}"


_MANIFEST = TypeAdapter(Manifest)
