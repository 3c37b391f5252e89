"""State of the study in a run folder: ``manifest.json``."""

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
    """The process that opened the folder last."""

    pid: int
    host: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``; written when a study starts and when it is complete.

    Nothing is written in between, so that ten thousand trainings cost ten thousand files: while
    a study is incomplete ``done`` counts what was there at its start. Fields that other versions
    write are passed over.

    Args:
        state: ``"incomplete"``, running or stopped, or ``"complete"``.
        asked: trainings that the study has, trials of the tuning among them.
        done: those that were finished when this was written.
        trained_with: the versions that made its trainings, the present ones last.
        compared: the methods of every study that was complete, in order.
        looks: its numbers of seeds, each once, the last one last.
        opened_by: the process that wrote it.
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
        """Read a folder's manifest, ``None`` if it has none; `StudyError` if it is damaged."""
        file = folder / NAME
        try:
            return _MANIFEST.validate_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise StudyError(
                f"cannot read {file}: {first_line(error)}; run the study again, which trains "
                "nothing that is done"
            ) from error


def read_history(folder: Path) -> Manifest | None:
    """Read a folder's manifest, ``None`` for a damaged one too."""
    try:
        return Manifest.read(folder)
    except StudyError:
        return None


def list_versions(folder: Path) -> tuple[str, ...]:
    """List the versions that trained in a folder so far, the present ones last."""
    known = read_history(folder)
    before = known.trained_with if known else ()
    return (*(versions for versions in before if versions != _versions()), _versions())


def _versions() -> str:
    """What the numbers of a training depend on, besides its study."""
    return f"dropkit {dropkit.__version__}, torch {version('torch')}"


_MANIFEST = TypeAdapter(Manifest)
