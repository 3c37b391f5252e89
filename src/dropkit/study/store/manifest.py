"""What a run folder holds, and whether that is all: ``manifest.json``."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

import dropkit
from dropkit.errors import StudyError, first_line
from dropkit.files import Place, read_all, sizes, write_atomic

NAME = "manifest.json"
_BLOCK = 2**16  # bytes: more than most trainings take, and little to hold


@dataclass(frozen=True, slots=True)
class Kept:
    """One file: its bytes, and their SHA-256 in hexadecimal digits."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Opener:
    """The process that opened the folder last."""

    pid: int
    host: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of ``manifest.json``; written when a study starts and when it is complete.

    Nothing is written in between, so that ten thousand trainings cost ten thousand files: while
    a study is incomplete ``done`` counts what was there at its start, and ``files`` is empty.

    Args:
        state: ``"incomplete"``, running or stopped, or ``"complete"``.
        asked: trainings that the study has, trials of the tuning among them.
        done: those that were finished when this was written.
        trained_with: the versions that made its trainings, the present ones last.
        opened_by: the process that wrote it.
        files: every file of a complete folder by its name, the manifest itself left out.
    """

    format: Literal["dropkit-manifest/1"] = "dropkit-manifest/1"
    dropkit: str = field(default_factory=lambda: dropkit.__version__)
    state: Literal["incomplete", "complete"]
    asked: int
    done: int
    trained_with: tuple[str, ...] = ()
    opened_by: Opener = field(default_factory=lambda: Opener(os.getpid(), platform.node()))
    files: dict[str, Kept] = field(default_factory=dict)

    def write(self, folder: Place) -> None:
        """Write the manifest into its folder."""
        write_atomic(folder / NAME, _MANIFEST.dump_json(self, indent=1) + b"\n")

    @classmethod
    def read(cls, folder: Place) -> Manifest | None:
        """The manifest of a folder, ``None`` if it has none; `StudyError` if it is damaged."""
        file = folder / NAME
        (content,) = read_all([file])
        if isinstance(content, FileNotFoundError):
            return None
        try:
            if isinstance(content, Exception):
                raise content
            return _MANIFEST.validate_json(content)
        except (OSError, ValidationError) as error:
            raise StudyError(
                f"cannot read {file}: {first_line(error)}; run the study again, which trains "
                "nothing that is done"
            ) from error

    def changed(self, folder: Place) -> Iterator[str]:
        """Name the listed files that are missing or no longer what they were.

        Sums are compared on local folders; remotely sizes are, which takes no download.
        """
        found = sizes(folder)
        same_size = []
        for name, kept in self.files.items():
            if name not in found:
                yield f"{name} is missing"
            elif found[name] != kept.bytes:
                yield f"{name} has {found[name]} bytes instead of {kept.bytes}"
            else:
                same_size.append(name)
        if isinstance(folder, Path):
            now = described(folder, same_size)
            yield from (
                f"{name} has changed" for name in same_size if now.get(name) != self.files[name]
            )


def complete(folder: Place, trainings: int) -> Manifest:
    """The manifest of a folder whose study is complete, from the files that are there."""
    names = sorted(name for name in sizes(folder) if name != NAME)
    return Manifest(
        state="complete",
        asked=trainings,
        done=trainings,
        trained_with=trained_with(folder),
        files=described(folder, names),
    )


def trained_with(folder: Place) -> tuple[str, ...]:
    """The versions that the trainings of a folder were made with so far, the present ones last."""
    try:
        known = Manifest.read(folder)
    except StudyError:
        known = None
    before = known.trained_with if known else ()
    return (*(versions for versions in before if versions != _versions()), _versions())


def _versions() -> str:
    """What the numbers of a training depend on, besides its study."""
    return f"dropkit {dropkit.__version__}, torch {version('torch')}"


def renew(folder: Place, *names: str) -> None:
    """Enter files that were written after the study was complete, such as its report."""
    try:
        manifest = Manifest.read(folder)
    except StudyError:
        return  # whoever reads the folder is told
    if manifest is not None and manifest.state == "complete":
        replace(manifest, files=manifest.files | described(folder, names)).write(folder)


def described(folder: Place, names: Sequence[str]) -> dict[str, Kept]:
    """Size and sum of each file that can be read."""
    if isinstance(folder, Path):
        found: Iterable[Kept | None] = (_summed(folder / name) for name in names)
    else:
        contents = read_all(folder / name for name in names)
        found = (
            Kept(len(content), hashlib.sha256(content).hexdigest())
            if isinstance(content, bytes)
            else None
            for content in contents
        )
    return {name: kept for name, kept in zip(names, found, strict=True) if kept is not None}


def _summed(file: Path) -> Kept | None:
    """Size and sum of a local file, read a block at a time: the results may be large."""
    try:
        with file.open("rb", buffering=0) as content:
            digest = hashlib.sha256()
            for block in iter(lambda: content.read(_BLOCK), b""):
                digest.update(block)
            return Kept(content.tell(), digest.hexdigest())
    except OSError:
        return None


_MANIFEST = TypeAdapter(Manifest)
