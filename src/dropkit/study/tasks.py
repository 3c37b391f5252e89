"""Define the kinds of task by the target of a row, with the words for each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dropkit.errors import StudyError
from dropkit.text import nearest

Task: TypeAlias = Literal["classification", "regression", "multi-label", "multi-output"]

_SHOWN = 5  # names of targets to list in a sentence


@dataclass(frozen=True)
class TaskKind:
    """One kind of task.

    Args:
        name: the value of the ``task`` setting.
        title: the name of the task in a sentence.
        predicts: one ``class`` per row, several ``labels`` of 0 or 1, or ``numbers``; ``nothing``
            if the targets are unknown.
        outputs: the meaning of each output of a network.
        constant: the best prediction that is the same for every row, in words.
        is_several: whether a row has several targets, so that ``y`` has a column for each.
    """

    name: str
    title: str
    predicts: Literal["class", "labels", "numbers", "nothing"]
    outputs: str
    constant: str
    is_several: bool = False

    @property
    def has_probabilities(self) -> bool:
        """Whether the network predicts probabilities."""
        return self.predicts in ("class", "labels")

    def __str__(self) -> str:
        return f"a {self.title}"


TASKS: dict[str, TaskKind] = {
    kind.name: kind
    for kind in (
        TaskKind(
            "classification", "classification", "class", "one per class", "the majority class"
        ),
        TaskKind("regression", "regression", "numbers", "the predicted value", "the mean target"),
        TaskKind(
            "multi-label",
            "multi-label classification",
            "labels",
            "one per label",
            "each label's most frequent value",
            is_several=True,
        ),
        TaskKind(
            "multi-output",
            "multi-output regression",
            "numbers",
            "one per target",
            "each target's mean",
            is_several=True,
        ),
    )
}
"""Every kind of task by its name."""

OTHER = TaskKind("other", "task", "nothing", "", "the mean target")
"""The kind of task for a user's own training that reports only metrics, without rows."""


def find_task(name: str) -> TaskKind:
    """Find a kind of task by name; ``other`` returns `OTHER`.

    Raises:
        StudyError: the task does not exist.

    >>> find_task("multi-lable")
    Traceback (most recent call last):
    dropkit.errors.StudyError: unknown task 'multi-lable': did you mean 'multi-label'?
    """
    if name == OTHER.name:
        return OTHER
    if name not in TASKS:
        raise StudyError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    return TASKS[name]


def join_names(names: Iterable[str]) -> str:
    """Join names with commas; names that contain a comma are quoted.

    >>> join_names(["height", "a,b"])
    'height,"a,b"'
    """
    quoted = (
        f'"{name.replace(chr(34), chr(34) * 2)}"' if _is_odd(name) else name for name in names
    )
    return ",".join(quoted)


def split_names(text: str) -> tuple[str, ...]:
    """Split names that `join_names` joined; ignore spaces after a comma.

    >>> split_names('height, "a,b"')
    ('height', 'a,b')
    """
    (found,) = csv.reader([text], skipinitialspace=True)
    return tuple(name.strip() for name in found)


def _is_odd(name: str) -> bool:
    return "," in name or name.startswith('"') or name != name.strip()


def name_several(names: Sequence[str]) -> str:
    """List the names of several targets for a sentence.

    >>> name_several(["a", "b"]), name_several("abcdefgh")
    ('a, b', 'a, b, c, d, e and 3 more')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
