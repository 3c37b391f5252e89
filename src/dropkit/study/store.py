"""The run folder: every finished training as one file, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import TypeAdapter, ValidationError

from dropkit.study._errors import StudyError
from dropkit.study.results import Results, Run
from dropkit.study.study import Study

_RUN = TypeAdapter(Run)
_HEAD = "# Repeats this study: dropkit compare study.toml\n"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write, which becomes ``path`` if the block succeeds.

    A reader of ``path`` sees the old content or the new, never a part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say where
            error.filename = str(path)
        raise


def write_atomic(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class RunFolder:
    """A folder with ``study.toml``, ``runs/``, ``trials/`` and, at the end, the results.

    Args:
        path: the folder.
        study: the study whose trainings it holds.
        fingerprint: what identifies the data and the model's source.
    """

    path: Path
    study: Study
    fingerprint: str

    def open(self) -> None:
        """Create the folder, or check that it belongs to this study; else `StudyError`."""
        file = self.path / "study.toml"
        if not file.exists():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise StudyError(
                    f"{self.path} is not empty and holds no study; choose another --out"
                )
            if self.path.exists() and not self.path.is_dir():
                raise StudyError(f"{self.path} is a file; choose another --out")
        else:
            self._check_same(file)
        made = not self.path.exists()
        self.path.mkdir(parents=True, exist_ok=True)
        settings = self.study.to_dict() | {"fingerprint": self.fingerprint}
        try:
            write_atomic(file, _HEAD + tomli_w.dumps(settings))
        except OSError:
            if made:
                self.path.rmdir()
            raise

    def _check_same(self, file: Path) -> None:
        advice = "choose another --out, or remove that folder"
        try:
            there = tomllib.loads(file.read_text(encoding="utf-8"))
            fingerprint = there.pop("fingerprint", None)
            other = Study.from_dict(there).identity()
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, StudyError) as error:
            raise StudyError(f"cannot read {file}: {error}; {advice}") from error
        here = self.study.identity()
        for key in sorted(here.keys() | other.keys()):
            if here.get(key) != other.get(key):
                raise StudyError(
                    f"{self.path} holds another study: {key} is {other.get(key)!r} there and "
                    f"{here.get(key)!r} here; {advice}"
                )
        if fingerprint != self.fingerprint:
            raise StudyError(
                f"{self.path} holds a study of other data or another model file; {advice}"
            )

    def save(self, run: Run, trial: int | None = None) -> None:
        """Keep one finished training."""
        text = _RUN.dump_json(run, indent=1).decode("utf-8")
        write_atomic(self._file(run.method, run.seed, trial), text)

    def load(self, method: str, seed: int, trial: int | None = None) -> Run | None:
        """The finished training, or ``None`` if there is none that can be read."""
        file = self._file(method, seed, trial)
        try:
            run = _RUN.validate_json(file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return run if (run.method, run.seed) == (method, seed) else None

    def finish(self, results: Results) -> None:
        """Write ``results.json``."""
        write_atomic(self.path / "results.json", results.to_json())

    def _file(self, method: str, seed: int, trial: int | None) -> Path:
        slug = re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")[:48]
        name = f"{slug}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"
        if trial is None:
            return self.path / "runs" / f"{name}-seed{seed}.json"
        return self.path / "trials" / f"{name}-trial{trial}.json"
