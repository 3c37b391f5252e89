"""Define the record of a whole study, and its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from dropkit.errors import StudyError, first_line
from dropkit.files import write_atomic
from dropkit.study.record.data import DataInfo
from dropkit.study.record.measure import DEFAULTS
from dropkit.study.record.rows import NUMBERS, unpack_rows
from dropkit.study.record.runs import Run

FORMAT = "dropkit-results/2"


@dataclass(frozen=True, slots=True)
class Tuning:
    """The cost of one method's search: the numbers of trials, and the total number of epochs.

    For an ensemble, the epochs of every network count.
    """

    trials: int
    pruned: int
    diverged: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """All measurements of a study; a saved and loaded record is equal to the original.

    Args:
        study: the settings, as from `Study.to_dict`.
        data: the description of the data.
        methods: the method expressions, in the order given.
        runs: the finished runs.
        tuned: the arguments that tuning chose, by method and seed.
        tuning: the cost of the search, by method.
        environment: versions and hardware.
        command: the command that repeats the study.
        compared: the methods of every study in the run folder so far.
        looks: the numbers of seeds after which results were analyzed; the current one is last.
        timing: when and how the study ran. If the same study is run again, only ``timing`` and the
            `Timing` of its runs differ.
        paired: whether runs of the same seed are paired; false if methods have different seeds.
        overlap: the ratio of test rows to training rows in a cross-validation; otherwise 0.
    """

    format: str = FORMAT
    study: dict[str, Any]
    data: DataInfo
    methods: tuple[str, ...]
    runs: tuple[Run, ...]
    tuned: dict[str, tuple[dict[str, float], ...]] = field(default_factory=dict)
    tuning: dict[str, Tuning] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    compared: tuple[str, ...] = ()
    looks: tuple[int, ...] = ()
    timing: dict[str, str] = field(default_factory=dict)
    paired: bool = True
    overlap: float = 0.0

    @property
    def baseline(self) -> str:
        """The method that others are compared with: the given one, ``none``, or the first."""
        if self.study.get("baseline") in self.methods:
            return str(self.study["baseline"])
        return "none" if "none" in self.methods else self.methods[0]

    @property
    def folds(self) -> int | None:
        """The number of folds per repetition; ``None`` without folds."""
        folds = self.study.get("folds")
        return folds if isinstance(folds, int) else None

    @property
    def starts_alike(self) -> bool | None:
        """Whether all runs of a seed started with equal weights and an equal first batch.

        ``None`` if unknown. The built-in training always starts runs of a seed equally.
        """
        starts: dict[int, set[str]] = {}
        for run in self.runs:
            starts.setdefault(run.seed, set()).add(run.start)
        if any("" in several for several in starts.values()):
            return None
        return all(len(several) == 1 for several in starts.values())

    def of(self, method: str) -> tuple[Run, ...]:
        """Return the runs of one method, ordered by seed."""
        return self._by_method.get(method, ())

    @cached_property
    def _by_method(self) -> dict[str, tuple[Run, ...]]:
        runs: dict[str, list[Run]] = {}
        for run in self.runs:
            runs.setdefault(run.method, []).append(run)
        return {method: tuple(sorted(r, key=lambda run: run.seed)) for method, r in runs.items()}

    def to_json(self) -> bytes:
        """Return the record as JSON in UTF-8, which starts with the format's name and version."""
        return _RECORD.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read a record from JSON of `to_json`; raise `StudyError` for other JSON."""
        try:
            found = _HEAD.validate_json(text).format
            if found == FORMAT:
                record = _RECORD.validate_json(text)
                _check(record)
                return record
        except ValueError as error:
            raise StudyError(
                f"these are not complete results of a study: {first_line(error)}"
            ) from error
        raise StudyError(
            f"expected results of format {FORMAT!r}, got {found!r}; "
            "rerun the study with this version of dropkit"
        )

    def save(self, path: str | Path) -> None:
        """Write the record atomically to a JSON file that `load` can read."""
        write_atomic(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read ``results.json``; raise `StudyError` if it is missing or damaged."""
        try:
            return cls.from_json(Path(path).read_bytes())
        except StudyError as error:
            raise StudyError(f"cannot read {path}: {error}") from error
        except FileNotFoundError:
            raise StudyError(f"no results: {path} is missing") from None


@dataclass(frozen=True)
class _Head:
    """The format of a file, which is checked before the rest of the file is read."""

    format: Any = None


_HEAD = TypeAdapter(_Head)
_RECORD = TypeAdapter(Record)


def _check(record: Record) -> None:
    """Raise `ValueError` for a record with valid types that no study would write."""

    def must(holds: object, rule: str) -> None:
        if not holds:
            raise ValueError(rule)

    task, rows = record.data.task, record.data.rows_test
    must(record.methods, "there must be a method")
    must(task in DEFAULTS and rows >= (task != "other"), "there must be a task and test rows")
    for run in record.runs:
        where, curve = f"{run.method}, seed {run.seed}", run.curve
        must(run.status in ("finished", "diverged"), f"{where} must be finished or diverged")
        lengths = set(map(len, (curve.step, curve.train_loss, curve.val_loss, curve.val_value)))
        must(len(lengths) == 1 and curve.step, f"{where} must have a value for every epoch")
        counts = min(curve.step) > 0 and max(curve.step) < 2**63
        must(counts, f"{where} must have made an update by the first epoch's end")
        must(run.status == "diverged" or run.test, f"{where} must have its scores")
        if run.row_errors is not None:
            unpack_rows(run.row_errors, task, run.test_rows or rows)
        if run.contributions is not None:
            unpack_rows(run.contributions, NUMBERS, run.test_rows or rows)
