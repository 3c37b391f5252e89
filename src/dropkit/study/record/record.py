"""The record of a whole study, and the file that keeps it."""

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
    """What the search of one method took: its trials, and the epochs that they trained in all.

    Of an ensemble the epochs of every net count.
    """

    trials: int
    pruned: int
    diverged: int
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything a study measured; saved and loaded without loss.

    ``study`` is the configuration as `Study.to_dict` gives it, ``methods`` the canonical method
    expressions in the order asked for, ``tuned`` the arguments that tuning chose per method and
    seed, ``tuning`` what that took, ``environment`` versions and hardware, ``command`` what repeats
    it. ``compared`` are the methods of every study in the run folder so far, ``looks`` the numbers
    of seeds at which results were seen, the present one last. ``timing`` is when and how it ran:
    like `Timing`, the only part that a repetition may change. ``paired`` is false for runs of
    another tool whose methods have different seeds; ``overlap`` is its test rows for each training
    row where every run was tested on other rows, as in a cross-validation. ``folds`` is how many
    parts a repetition of such a study has.
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
        """The method that all others are compared with: as asked for, ``none``, or the first."""
        if self.study.get("baseline") in self.methods:
            return str(self.study["baseline"])
        return "none" if "none" in self.methods else self.methods[0]

    @property
    def folds(self) -> int | None:
        """How many parts of the rows every repetition tests in turn; ``None`` for one test part."""
        folds = self.study.get("folds")
        return folds if isinstance(folds, int) else None

    @property
    def starts_alike(self) -> bool | None:
        """Whether all runs of a seed began with equal weights and an equal first batch.

        ``None`` where that was not seen. The built-in training is paired by construction.
        """
        starts: dict[int, set[str]] = {}
        for run in self.runs:
            starts.setdefault(run.seed, set()).add(run.start)
        if any("" in several for several in starts.values()):
            return None
        return all(len(several) == 1 for several in starts.values())

    def of(self, method: str) -> tuple[Run, ...]:
        """The runs of one method, in order of their seeds."""
        return self._by_method.get(method, ())

    @cached_property
    def _by_method(self) -> dict[str, tuple[Run, ...]]:
        runs: dict[str, list[Run]] = {}
        for run in self.runs:
            runs.setdefault(run.method, []).append(run)
        return {method: tuple(sorted(r, key=lambda run: run.seed)) for method, r in runs.items()}

    def to_json(self) -> bytes:
        """The record as JSON in UTF-8, with the format's name and version first."""
        return _RECORD.dump_json(self, indent=1) + b"\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Rebuild what `to_json` wrote; raises `StudyError` for anything else."""
        try:
            found = _HEAD.validate_json(text).format
            if found == FORMAT:
                record = _RECORD.validate_json(text)
                _check(record)
                return record
        except ValueError as error:
            raise StudyError(
                f"these are no whole results of a study: {first_line(error)}"
            ) from error
        raise StudyError(
            f"expected results of format {FORMAT!r}, got {found!r}; "
            "rerun the study with this version of dropkit"
        )

    def save(self, path: str | Path) -> None:
        """Write the record as JSON, whole or not at all; `load` reads it back."""
        write_atomic(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read ``results.json``; `StudyError` if there is none, or it is damaged."""
        try:
            return cls.from_json(Path(path).read_bytes())
        except StudyError as error:
            raise StudyError(f"cannot read {path}: {error}") from error
        except FileNotFoundError:
            raise StudyError(f"no results: {path} is missing") from None


@dataclass(frozen=True)
class _Head:
    """What is read first of a file, whatever else it holds."""

    format: Any = None


_HEAD = TypeAdapter(_Head)
_RECORD = TypeAdapter(Record)


def _check(record: Record) -> None:
    """Raise `ValueError` for what no study writes, though every value is of its type."""

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
