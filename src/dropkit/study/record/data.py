"""Describe the data of a study for readers of its results."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.reading import ColumnReading
from dropkit.study.record.measure import DEFAULTS, Measure
from dropkit.study.shapes import Shape
from dropkit.study.tasks import TaskKind, find_task


@dataclass(frozen=True)
class DataInfo:
    """Name, task, sizes and classes of the data.

    ``task`` is one of `dropkit.study.tasks.TASKS`, or ``other`` if a user's own training reports
    metrics without rows. ``measure`` is the number that methods are compared by; by default the
    usual one of the task. ``targets`` holds the names of several targets. If the targets
    are numbers, errors are divided by ``units``, the standard deviations of the targets.

    ``constant_value`` is the test measure of a constant prediction: the most frequent class, or the
    mean, of the first seed's training rows. ``constant_train_value`` is the measure of the same
    prediction on these training rows. For a user's own training, whose training rows are unknown,
    ``constant_value`` belongs to the best constant prediction for the test rows. Older results have
    neither value.

    With folds, ``rows_test`` counts the test rows of all folds, and the other numbers are means
    over the folds. ``columns`` describes how the columns of a table were read. ``doubts`` are notes
    about problems that make every result unreliable, each with its fix.
    """

    name: str
    task: str
    target: str
    rows_train: int
    rows_val: int
    rows_test: int
    inputs: Shape
    outputs: int
    classes: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    constant_value: float | None = None
    constant_train_value: float | None = None
    doubts: tuple[str, ...] = ()
    measure: Measure = None  # type: ignore[assignment]  # filled in below
    columns: tuple[ColumnReading, ...] = ()
    targets: tuple[str, ...] = ()
    units: tuple[float, ...] = ()

    @property
    def kind(self) -> TaskKind:
        """The kind of task."""
        return find_task(self.task)

    def __post_init__(self) -> None:
        if self.measure is None:
            object.__setattr__(self, "measure", DEFAULTS.get(self.task))
