"""Define the run folder, which stores every finished run in a file of its own, atomically."""

from __future__ import annotations

import hashlib
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import TypeAdapter

from dropkit.errors import StudyError
from dropkit.files import is_part, remove_parts, write_atomic
from dropkit.study.plan import Plan
from dropkit.study.record import Record, Run
from dropkit.study.store import lock, manifest
from dropkit.study.store.manifest import Manifest
from dropkit.study.training_study import read_plan

FORMAT = "dropkit-run/2"

Key = tuple[str, int, int | None]
"""The key of a stored run: method, seed, and the number of a trial or ``None``."""

_RUN = TypeAdapter(Run)
_BEFORE_RUN, _AFTER_RUN = b'"run":\n', b"}\n"
_HEAD = "# Repeats this study: dropkit compare study.toml\n"
_OF_FUNCTION = "# Repeated from Python, with the same function: {}\n"


@dataclass(frozen=True)
class Loaded:
    """The finished runs of a folder, and the names of unusable files."""

    runs: dict[Key, Run]
    unreadable: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """One line about unusable files; empty if there are none."""
        if not self.unreadable:
            return ""
        count = len(self.unreadable)
        return (
            f"{count} finished run{'s are' if count > 1 else ' is'} damaged or of another "
            f"study and repeated; the first is {self.unreadable[0]}"
        )


@dataclass(frozen=True)
class History:
    """What earlier studies in a folder compared, and after how many seeds they were analyzed."""

    compared: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()

    def add(self, methods: Iterable[str], seeds: int) -> History:
        """Add a study to the history; an analysis after the same number of seeds counts once."""
        others = tuple(look for look in self.looks if look != seeds)
        return History(tuple(dict.fromkeys((*self.compared, *methods))), (*others, seeds))


@dataclass(frozen=True)
class RunFolder:
    """A folder with ``study.toml``, ``runs/``, ``trials/`` and, at the end, the results.

    Args:
        path: the folder.
        study: the study whose runs it holds.
        fingerprint: identifies the data and the model's source.
    """

    path: Path
    study: Plan
    fingerprint: str

    @classmethod
    def of(cls, path: str | Path) -> RunFolder:
        """Open the folder of an earlier study, by its ``study.toml``."""
        path = Path(path)
        study, fingerprint = _read_study(path / "study.toml")
        return cls(path, study, fingerprint)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder, or check that it belongs to this study; lock it until the end.

        Raises:
            StudyError: the folder holds another study or other files, or another process uses it.
        """
        made = not self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        with lock.hold(self.path):
            try:
                self._check()  # check again, now that the folder is locked
                self._start()
            except BaseException:
                if made:
                    self._remove_if_empty(self.path)
                raise
            yield

    def up_to(self, seeds: int) -> RunFolder:
        """Return this folder for the same study with ``seeds`` seeds."""
        return replace(self, study=replace(self.study, seeds=seeds))  # type: ignore[type-var]

    def load_all(self, keys: Iterable[Key]) -> Loaded:
        """Load those of the given runs that are finished, and list files that cannot be used."""
        runs, unreadable = {}, []
        for key in keys:
            name = self._name(*key)
            try:
                run = self._unseal(name, (self.path / name).read_bytes())
            except FileNotFoundError:
                continue
            except OSError:
                run = None
            if run is not None and (run.method, run.seed) == key[:2]:
                runs[key] = run
            else:
                unreadable.append(name)
        return Loaded(runs, tuple(unreadable))

    def load(self, method: str, seed: int, trial: int | None = None) -> Run | None:
        """Return the finished run, or ``None`` if its file is missing or unusable."""
        key = (method, seed, trial)
        return self.load_all([key]).runs.get(key)

    def save(self, run: Run, trial: int | None = None) -> None:
        """Store one finished run."""
        file = self._file(run.method, run.seed, trial)
        if file.is_dir():
            file.rename(file.with_name(f"{file.name}.{time.time_ns()}.aside"))
        write_atomic(file, self._seal(file.name, _RUN.dump_json(run, indent=1)))

    def finish(self, record: Record) -> None:
        """Write ``results.json``, then the manifest that marks the folder as complete."""
        record.save(self.path / "results.json")
        seen = History(record.compared, record.looks)
        self._describe("complete", self._asked, manifest.list_versions(self.path), seen)

    def history(self) -> History:
        """Return what earlier studies in the folder compared, and after how many seeds."""
        known = manifest.read_history(self.path)
        return History(known.compared, known.looks) if known else History()

    def progress(self) -> tuple[int, int]:
        """Count the runs that have a file, and the runs that the study asks for."""
        there = {f"{file.parent.name}/{file.name}" for file in self.path.glob("*/*.json")}
        return sum(self._name(*key) in there for key in self._keys()), self._asked

    def _check(self) -> bool:
        """Return whether the folder exists; raise `StudyError` if this study cannot use it."""
        study = self.path / "study.toml"
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise StudyError(f"{self.path} is a file; choose another --out")
        if study.exists():
            self._check_same(study)
        elif not all(map(_is_from_start, self.path.iterdir())):
            raise StudyError(f"{self.path} is not empty and holds no study; choose another --out")
        return True

    def _start(self) -> None:
        file = self.path / "study.toml"
        settings = self.study.to_dict() | {"fingerprint": self.fingerprint}
        head = _HEAD if self.study.is_named else _OF_FUNCTION.format(self.study.call)
        text = (head + tomli_w.dumps(settings)).encode()
        if not file.exists() or file.read_bytes() != text:
            write_atomic(file, text)
        for folder in ("runs", "trials") if self.study.tune else ("runs",):
            (self.path / folder).mkdir(exist_ok=True)
        for folder in ("", "runs", "trials"):
            remove_parts(self.path / folder)
        done, _ = self.progress()
        versions = manifest.list_versions(self.path)
        trained = versions if done else versions[-1:]
        self._describe("incomplete", done, trained, self.history())

    def _describe(
        self,
        state: Literal["incomplete", "complete"],
        done: int,
        versions: tuple[str, ...],
        seen: History,
    ) -> None:
        Manifest(
            state=state,
            asked=self._asked,
            done=done,
            trained_with=versions,
            compared=seen.compared,
            looks=seen.looks,
        ).write(self.path)

    def _remove_if_empty(self, folder: Path) -> None:
        """Remove the folder if no study was written into it."""
        if not (folder / "study.toml").exists():
            (folder / lock.NAME).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()

    def _check_same(self, file: Path) -> None:
        advice = "choose another --out, or remove that folder"
        try:
            there, fingerprint = _read_study(file)
        except StudyError as error:
            raise StudyError(f"{error}; {advice}") from error
        here, other = self.study.identity(), there.identity()
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

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that identify everything the folder's runs depend on."""
        return self.study.digest(self.fingerprint)

    def _seal(self, name: str, run: bytes) -> bytes:
        """Return the content of a run's file: the study, a checksum, and the run."""
        digest = hashlib.sha256(run).hexdigest()
        head = f'{{"format": "{FORMAT}", "study": "{self.digest}", "file": "{name}",\n'
        return f'{head}"sha256": "{digest}", '.encode() + _BEFORE_RUN + run + _AFTER_RUN

    def _unseal(self, name: str, content: bytes) -> Run | None:
        """Read the run in a file; return ``None`` unless its content is exactly as written."""
        run = content.partition(_BEFORE_RUN)[2][: -len(_AFTER_RUN)]
        if self._seal(name.rpartition("/")[2], run) != content:
            return None
        try:
            return _RUN.validate_json(run)
        except ValueError:
            return None

    @property
    def _asked(self) -> int:
        return (
            len(self.study.methods)
            * self.study.count_runs(self.study.seeds)
            * (1 + self.study.tune)
        )

    def _keys(self) -> Iterator[Key]:
        """Yield the key of every run that the study asks for."""
        trials = (None, *range(self.study.tune))
        for method, seed in product(
            self.study.method_names, range(self.study.count_runs(self.study.seeds))
        ):
            yield from ((method, seed, trial) for trial in trials)

    def _file(self, method: str, seed: int, trial: int | None) -> Path:
        return self.path / self._name(method, seed, trial)

    def _name(self, method: str, seed: int, trial: int | None) -> str:
        if trial is None:
            return f"runs/{slug(method)}-seed{seed}.json"
        return f"trials/{slug(method)}-seed{seed}-trial{trial}.json"


def parse_folder(where: str | Path) -> Path:
    """Parse the path of a run folder; raise `StudyError` for an address such as ``s3://bucket``."""
    if "://" in str(where):
        raise StudyError(f"out must be a folder on this machine or a shared one, got {where}")
    return Path(where)


def _is_from_start(file: Path) -> bool:
    """Return whether a study that was killed at its start may have left this file."""
    return file.name == lock.NAME or is_part(file)


@lru_cache
def slug(method: str) -> str:
    """Return a file name for a method: at most 55 lower-case letters, digits and hyphens."""
    slug = re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")[:48]
    return f"{slug}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"


def _read_study(file: Path) -> tuple[Plan, str]:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
        fingerprint = str(settings.pop("fingerprint", ""))
        return read_plan(settings), fingerprint
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {file}: {error}") from error
