"""The data of a study, as far as a reader of its results needs to know them."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.reading import ColumnReading
from dropkit.study.record.measure import DEFAULTS, Measure
from dropkit.study.shapes import Shape
from dropkit.study.tasks import TaskKind, find_task


@dataclass(frozen=True)
class DataInfo:
    """Name, task, sizes and classes of the data.

    ``task`` is one of `dropkit.study.tasks.TASKS`, or ``other`` for numbers that a user's own
    training reports: these have no rows, no losses and no constant answer. ``measure`` is what
    methods are compared by; that of the task if not given. Several targets are named in
    ``targets``; if they are numbers, ``units`` are the standard deviations that their errors are
    measured in.

    ``constant_value`` is the measure of the best constant answer to the training rows of the
    first seed: their most frequent class, or mean; ``constant_train_value`` that on these rows
    themselves. For a user's own training, whose training rows are not seen, the former is that of
    the best constant answer to the test rows. Results of before this was kept have none. With
    folds, ``rows_test`` counts the rows of all of them, and the other numbers are means over the
    folds. ``columns`` says how those of a table were read.
    ``doubts`` are notes so grave that nothing can be concluded, each a headline with what to do.
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
        """What is predicted."""
        return find_task(self.task)

    def __post_init__(self) -> None:
        if self.measure is None:
            object.__setattr__(self, "measure", DEFAULTS.get(self.task))
