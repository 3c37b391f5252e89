"""Define the settings of a study that compares methods in a user's training function."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dropkit.errors import StudyError
from dropkit.study.config import Study
from dropkit.study.methods.expression import Expression
from dropkit.study.plan import FREE, Plan
from dropkit.study.settings import from_values

OWN_METHODS = ("as-is", "dropout(p=0.1)", "dropout(p=0.3)", "dropout(p=0.5)")
"""The default methods: the unchanged training, and dropout at three rates."""


@dataclass(frozen=True, kw_only=True)
class TrainingStudy(Plan):
    """The settings of a study that compares methods in a user's training function.

    Args:
        train: the function as ``file.py:function``, or only the name of a function from Python.
        methods: methods to compare; the baseline is ``none`` if present, otherwise the first.
        seeds: number of random seeds. With the same seed, all methods have the same initial weights
            and batches.
        until_decided: whether to add seeds until one method is significantly better, or every
            method is significantly worse or too similar to matter.
        max_seeds: maximum number of seeds with until_decided; by default four times seeds.
        tune: trials per method and seed that tune the method's arguments and the function's
            ``run.suggest`` values. The function must log the validation loss, which tuning
            minimizes.
        prune: whether to stop a trial early if its validation loss is above the median of the
            method's earlier, finished trials after the same epoch; the first ten trials are never
            pruned.
        worthwhile: smallest difference that matters, in points if the metric is a fraction,
            otherwise in its own units.
        threads: CPU threads per run.
    """

    train: str
    methods: tuple[Expression, ...] = OWN_METHODS  # type: ignore[assignment]  # read below
    seeds: int = Study.seeds
    until_decided: bool = Study.until_decided
    max_seeds: int | None = Study.max_seeds
    tune: int = Study.tune
    prune: bool = Study.prune
    worthwhile: float | None = None
    threads: int = Study.threads

    call: ClassVar[str] = "dropkit.study.compare_training(...)"

    def __post_init__(self) -> None:
        self.read_shared()

    @property
    def is_named(self) -> bool:
        return ":" in self.train

    @property
    def name(self) -> str:
        """Return the name of the training in tables and folders."""
        return f"{Path(self.train.rpartition(':')[0]).stem}-{self.train.rpartition(':')[2]}".strip(
            "-"
        )

    @property
    def from_baseline(self) -> tuple[Expression, ...]:
        """Return the methods, with the baseline first."""
        return tuple(sorted(self.methods, key=lambda method: str(method) != "none"))

    def identity(self) -> dict[str, Any]:
        """Return the settings that each run depends on."""
        free = FREE if self.prune else FREE | {"prune"}
        return {key: value for key, value in self.to_dict().items() if key not in free}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> TrainingStudy:
        """Build a study from plain values; raise `StudyError` for unknown or ill-typed ones."""
        for name in settings:
            if name in Study.__dataclass_fields__ and name not in cls.__dataclass_fields__:
                raise StudyError(
                    f"{name} is a setting of the built-in training; {settings['train']} has its "
                    f"own. To search a number, declare it there: run.suggest({name!r}, low, high)"
                )
        return from_values(cls, settings)


def read_plan(settings: dict[str, Any]) -> Plan:
    """Build a `TrainingStudy` if the settings name a training function, otherwise a `Study`."""
    return TrainingStudy.from_dict(settings) if "train" in settings else Study.from_dict(settings)
