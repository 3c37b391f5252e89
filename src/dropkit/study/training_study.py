"""The configuration of a study in which a function of the user's trains."""

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
"""What is compared by default: the training as it stands, with other dropout in its model."""


@dataclass(frozen=True, kw_only=True)
class TrainingStudy(Plan):
    """What is compared when a function of the user's trains.

    Args:
        train: the function, as ``file.py:function``, or its name if it came from Python.
        methods: methods to compare; the baseline is ``none`` if present, else the first.
        seeds: paired repetitions, with seeds 0 to seeds - 1.
        until_decided: whether seeds are added until a method differs significantly, or is shown not
            to differ by as much as matters.
        max_seeds: seeds at most, with until_decided; four times seeds if not given.
        tune: trials per method and seed that search its arguments, and the numbers that the
            function suggests, by the validation loss that it logs.
        prune: whether a trial ends early whose validation loss falls behind the median of its
            method's others; the first ten are never pruned.
        worthwhile: the smallest difference that matters, in the measure's units, or in points of
            one that is a fraction.
        threads: processor threads per training.
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
        """What tables and folders call the training."""
        return f"{Path(self.train.rpartition(':')[0]).stem}-{self.train.rpartition(':')[2]}".strip(
            "-"
        )

    @property
    def from_baseline(self) -> tuple[Expression, ...]:
        """The methods, the baseline first."""
        return tuple(sorted(self.methods, key=lambda method: str(method) != "none"))

    def identity(self) -> dict[str, Any]:
        """What every single training depends on."""
        free = FREE if self.prune else FREE | {"prune"}
        return {key: value for key, value in self.to_dict().items() if key not in free}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> TrainingStudy:
        """Build a study from plain values; raises `StudyError` for unknown or ill-typed ones."""
        for name in settings:
            if name in Study.__dataclass_fields__ and name not in cls.__dataclass_fields__:
                raise StudyError(
                    f"{name} is a setting of the built-in training; {settings['train']} has its "
                    f"own. To search a number, declare it there: run.suggest({name!r}, low, high)"
                )
        return from_values(cls, settings)


def read_plan(settings: dict[str, Any]) -> Plan:
    """Build the study that plain values describe, of either kind."""
    return TrainingStudy.from_dict(settings) if "train" in settings else Study.from_dict(settings)
