"""The run folder: every finished training as one file, written whole or not at all."""

from __future__ import annotations

import hashlib
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import tomli_w
from pydantic import TypeAdapter

from dropkit.errors import StudyError
from dropkit.files import (
    Place,
    is_part,
    locate,
    make_folder,
    reached,
    read_all,
    remove_parts,
    sizes,
    write_atomic,
)
from dropkit.study.config import Study
from dropkit.study.record.results import Results, Run
from dropkit.study.store import lock, manifest
from dropkit.study.store.manifest import Manifest
from dropkit.study.training.models import named
from dropkit.study.tuning.search import TUNING_SEED

FORMAT = "dropkit-run/1"

Key = tuple[str, int, int | None]
"""Method, seed, and the number of a trial or ``None``: what a training is filed under."""

_RUN = TypeAdapter(Run)
_BEFORE_RUN, _AFTER_RUN = b'"run":\n', b"}\n"
_HEAD = "# Repeats this study: dropkit compare study.toml\n"
_OF_FUNCTION = "# Repeated from Python, with the same function: dropkit.study.compare(model=...)\n"


@dataclass(frozen=True)
class Loaded:
    """The finished trainings of a folder, and the names of files that hold none that is usable."""

    runs: dict[Key, Run]
    unreadable: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """One line about the unreadable ones; empty if there are none."""
        if not self.unreadable:
            return ""
        count = len(self.unreadable)
        return (
            f"{count} finished training{'s are' if count > 1 else ' is'} damaged or of another "
            f"study and trained again, the first is {self.unreadable[0]}"
        )


@dataclass(frozen=True)
class RunFolder:
    """A folder with ``study.toml``, ``runs/``, ``trials/`` and, at the end, the results.

    Args:
        path: the folder, local or remote (see `locate`).
        study: the study whose trainings it holds.
        fingerprint: what identifies the data and the model's source.
    """

    path: Place
    study: Study
    fingerprint: str

    @classmethod
    def of(cls, where: str | Place) -> RunFolder:
        """The folder of an earlier study, described by its own ``study.toml``."""
        path = locate(where)
        study, fingerprint = _read_study(path / "study.toml")
        return cls(path, study, fingerprint)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder, or check that it belongs to this study, and keep others out of it.

        Raises:
            StudyError: it is another study's, nobody's study's, or in use by another process;
                a remote one cannot be reached.
        """
        made = not self._check()
        make_folder(self.path)
        with lock.alone(self.path):
            try:
                self._check()  # again, now that nobody else can change it
                self._start()
            except BaseException:
                if made and isinstance(self.path, Path):
                    self._unmake(self.path)
                raise
            yield

    def load_all(self, keys: Iterable[Key]) -> Loaded:
        """Those of the trainings that are finished; a damaged or foreign file is none."""
        keys = list(keys)
        if not isinstance(self.path, Path) and len(keys) > 1:
            there = sizes(self.path)  # asking for what is not there takes as long as reading it
            keys = [key for key in keys if self._name(*key) in there]
        runs, unreadable = {}, []
        contents = read_all(self._file(*key) for key in keys)
        for key, content in zip(keys, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, Exception) and not isinstance(self.path, Path):
                with reached(self._file(*key)):  # a weak connection is no reason to train again
                    raise content
            name = self._name(*key)
            run = self._unsealed(name, content) if isinstance(content, bytes) else None
            if run is not None and (run.method, run.seed) == key[:2]:
                runs[key] = run
            else:
                unreadable.append(name)
        return Loaded(runs, tuple(unreadable))

    def load(self, method: str, seed: int, trial: int | None = None) -> Run | None:
        """The finished training, or ``None`` if there is none that can be read."""
        key = (method, seed, trial)
        return self.load_all([key]).runs.get(key)

    def save(self, run: Run, trial: int | None = None) -> None:
        """Keep one finished training."""
        file = self._file(run.method, run.seed, trial)
        if isinstance(file, Path) and file.is_dir():
            file.rename(file.with_name(f"{file.name}.{time.time_ns()}.aside"))
        write_atomic(file, self._sealed(file.name, _RUN.dump_json(run, indent=1)))

    def finish(self, results: Results) -> None:
        """Write ``results.json``, then the manifest that says the folder is complete.

        Of two processes that finish together at a remote place, the later one to write the
        manifest makes sure that it is about the results which are there.
        """
        results.save(self.path / "results.json")
        while True:
            whole = manifest.complete(self.path, self._asked)
            whole.write(self.path)
            now = manifest.described(self.path, ["results.json"])
            if isinstance(self.path, Path) or now.items() <= whole.files.items():
                return

    def progress(self) -> tuple[int, int]:
        """How many trainings have a file, and how many the study asks for."""
        there = sizes(self.path)
        return sum(self._name(*key) in there for key in self._keys()), self._asked

    def _check(self) -> bool:
        """Whether the folder exists; `StudyError` if it is not this study's to use."""
        study = self.path / "study.toml"
        with reached(self.path):
            if not self.path.exists():
                return False
            if not self.path.is_dir():
                raise StudyError(f"{self.path} is a file; choose another --out")
            described = study.exists()
            if not described and not all(map(_of_a_start, self.path.iterdir())):
                raise StudyError(
                    f"{self.path} is not empty and holds no study; choose another --out"
                )
        if described:
            self._check_same(study)
        return True

    def _start(self) -> None:
        file = self.path / "study.toml"
        settings = self.study.to_dict() | {"fingerprint": self.fingerprint}
        head = _HEAD if named(self.study.model) else _OF_FUNCTION
        text = (head + tomli_w.dumps(settings)).encode()
        if next(read_all([file])) != text:
            write_atomic(file, text)
        for folder in ("runs", "trials") if self.study.tune else ("runs",):
            make_folder(self.path / folder)
        if isinstance(self.path, Path):
            for folder in ("", "runs", "trials"):
                remove_parts(self.path / folder)
        done, asked = self.progress()
        versions = manifest.trained_with(self.path)
        versions = versions if done else versions[-1:]
        Manifest(state="incomplete", asked=asked, done=done, trained_with=versions).write(self.path)

    def _unmake(self, folder: Path) -> None:
        """Leave no folder behind that holds nothing, not even its study."""
        if not (folder / "study.toml").exists():
            (folder / lock.NAME).unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()

    def _check_same(self, file: Place) -> None:
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
        """Eight hexadecimal digits that name all that the folder's trainings depend on."""
        return self.study.digest(self.fingerprint)

    def _sealed(self, name: str, run: bytes) -> bytes:
        """A training as its file has it: after what it belongs to and the sum of its bytes."""
        digest = hashlib.sha256(run).hexdigest()
        head = f'{{"format": "{FORMAT}", "study": "{self.digest}", "file": "{name}",\n'
        return f'{head}"sha256": "{digest}", '.encode() + _BEFORE_RUN + run + _AFTER_RUN

    def _unsealed(self, name: str, content: bytes) -> Run | None:
        """The training in a file, ``None`` unless it is exactly what was sealed."""
        run = content.partition(_BEFORE_RUN)[2][: -len(_AFTER_RUN)]
        if self._sealed(name.rpartition("/")[2], run) != content:
            return None
        try:
            return _RUN.validate_json(run)
        except ValueError:
            return None

    @property
    def _asked(self) -> int:
        return len(self.study.methods) * (self.study.seeds + self.study.tune)

    def _keys(self) -> Iterator[Key]:
        """Every training that the study asks for."""
        methods, seeds, trials = self.study.methods, range(self.study.seeds), range(self.study.tune)
        yield from ((method, seed, None) for method in methods for seed in seeds)
        yield from ((method, TUNING_SEED, trial) for method in methods for trial in trials)

    def _file(self, method: str, seed: int, trial: int | None) -> Place:
        return self.path / self._name(method, seed, trial)

    def _name(self, method: str, seed: int, trial: int | None) -> str:
        if trial is None:
            return f"runs/{slug(method)}-seed{seed}.json"
        return f"trials/{slug(method)}-trial{trial}.json"


def check_whole(folder: Place) -> None:
    """Raise `StudyError` unless a folder is complete, as far as it says, with its results whole."""
    known = Manifest.read(folder)
    if known is None:
        return
    if known.state != "complete":
        done, asked = RunFolder.of(folder).progress()
        raise StudyError(
            f"the study in {folder} is not finished: {done} of {asked} trainings are done; to go "
            f"on: dropkit compare {folder / 'study.toml'} --out {folder}"
        )
    results = manifest.described(folder, ["results.json"])
    if results and not results.items() <= known.files.items():
        raise StudyError(
            f"{folder / 'results.json'} is not what the study wrote; run the study again, which "
            "trains nothing that is done"
        )


def doubt(folder: Place) -> str:
    """One line, if files of a complete folder are missing or changed; else nothing.

    The report's own files are not looked at: they are about to be written.
    """
    known = Manifest.read(folder)
    own = ("results.csv ", "report.html ")
    changed = [line for line in known.changed(folder) if not line.startswith(own)] if known else []
    if not changed:
        return ""
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{folder} is not as the study left it ({changed[0]}{more}); reported are its results"


def _of_a_start(file: Place) -> bool:
    """Whether a study that starts, or was killed when it did, may have left this file."""
    return file.name == lock.NAME or is_part(file)


@lru_cache
def slug(method: str) -> str:
    """A name of at most 55 characters for a method: lower-case letters, digits and hyphens."""
    slug = re.sub(r"[^a-z0-9]+", "-", method.lower()).strip("-")[:48]
    return f"{slug}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"


def _read_study(file: Place) -> tuple[Study, str]:
    (content,) = read_all([file])
    try:
        if isinstance(content, Exception):
            raise content
        settings = tomllib.loads(content.decode("utf-8"))
        fingerprint = str(settings.pop("fingerprint", ""))
        return Study.from_dict(settings), fingerprint
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {file}: {error}") from error
