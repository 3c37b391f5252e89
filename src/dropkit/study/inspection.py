"""Describe the data of a study as plain values, for the terminal and for HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dropkit.study.reading import ColumnReading
from dropkit.study.shapes import Shape, describe_shape
from dropkit.study.tasks import find_task

_MOST = 10  # classes, labels or targets to show in a line


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A description of how data are read, made before anything is trained.

    Args:
        name: the name of the data.
        task: one of `dropkit.study.tasks.TASKS`.
        target: what is predicted.
        classes: each class with its number of rows, including test rows; empty for numbers.
        target_range: the lowest and highest number to predict; ``None`` for classes, labels and
            several targets.
        labels: each label with the number of rows that have it, including test rows.
        target_ranges: the name, the lowest and the highest number of each of several targets.
        rows: number of rows that are split into training, validation and test rows.
        rows_test: number of rows of a fixed test set; ``None`` without one.
        parts: number of rows of each part; with folds, in the first fold.
        folds: number of folds; ``None`` without folds.
        inputs: the shape of a row of features as read; for several inputs, a dict of shapes by
            name.
        arrays: descriptions of several inputs, or of sequences; empty for one array or a table.
        repeated: number of rows that are in the data more than once; with a fixed test set, the
            number of test rows that are also in the training data.
        columns: how every column of a table is read; empty for arrays and images.
        notes: one line for each surprise, with the option that changes it.
    """

    name: str
    task: str
    target: str
    classes: tuple[tuple[str, int], ...] = ()
    target_range: tuple[float, float] | None = None
    labels: tuple[tuple[str, int], ...] = ()
    target_ranges: tuple[tuple[str, float, float], ...] = ()
    rows: int
    rows_test: int | None = None
    parts: dict[str, int]
    inputs: Shape
    arrays: tuple[str, ...] = ()
    repeated: int = 0
    columns: tuple[ColumnReading, ...] = ()
    notes: tuple[str, ...] = ()
    folds: int | None = None

    def __str__(self) -> str:
        """Return the summary, a line for every column, and the notes."""
        lines = list(self.summary)
        for column in self.columns:
            kind, features = describe_kind(column), describe_features(column)
            lines.append(f"{column.name}: {kind}; {features}")
        return "\n".join([*lines, *(f"! {note}" for note in self.notes)])

    @property
    def what(self) -> str:
        """The task and the target."""
        return f"{find_task(self.task).title} of {self.target}"

    @property
    def summary(self) -> tuple[str, ...]:
        """Return lines about the data, the target, the parts, and repeated rows."""
        features = f"rows of shape {describe_shape(self.inputs)}"
        if isinstance(self.inputs, dict):
            features = f"{len(self.inputs)} inputs"
        features = f"{len(self.columns)} columns" if self.columns else features
        lines = [f"{self.name}: {self.rows:,} rows, {features}; {self.what}", *self.arrays]
        if self.target_range is not None:
            lines.append("target: {:g} to {:g}".format(*self.target_range))
        if self.target_ranges:
            shown = ["{} {:g} to {:g}".format(*each) for each in self.target_ranges]
            lines.append(f"targets: {_join_some(shown)}")
        for kind, counts in (("classes", self.classes), ("labels", self.labels)):
            if counts:
                total = self.rows + (self.rows_test or 0)
                shown = [f"{name} {100 * n / total:.1f} % ({n:,})" for name, n in counts]
                lines.append(f"{kind}: {_join_some(shown)}")
        where = "" if self.folds is None else f" in the first of {self.folds} folds"
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parts.items())
        lines.append(f"{parts} rows{where}")
        if self.repeated:
            of = self.rows if self.rows_test is None else self.rows_test
            where = "more than once" if self.rows_test is None else "in the training data as well"
            lines.append(f"repeated rows: {self.repeated:,} of {of:,} appear {where}")
        return tuple(lines)


def _join_some(shown: Sequence[str]) -> str:
    more = f", and {len(shown) - _MOST} more" if len(shown) > _MOST else ""
    return ", ".join(shown[:_MOST]) + more


def describe_kind(column: ColumnReading) -> str:
    """Return the kind of a column and its notation."""
    return f"{column.kind} ({column.how})" if column.how else column.kind


def describe_features(column: ColumnReading) -> str:
    """Return the number of features that a column becomes."""
    if column.is_left_out:
        return "left out"
    count = len(column.becomes)
    return "1 feature" if count == 1 else f"{count} features"


def describe_values(column: ColumnReading) -> str:
    """Return the range of a column, or some of its values."""
    if column.lowest:
        return f"{column.lowest} to {column.highest}"
    return ", ".join(column.examples)
