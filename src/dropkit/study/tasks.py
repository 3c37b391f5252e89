"""The kinds of task: what a row's target is, and what the words for it are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dropkit.errors import StudyError
from dropkit.text import nearest

Task: TypeAlias = Literal["classification", "regression", "multi-label", "multi-output"]

_SHOWN = 5  # names of targets in a sentence


@dataclass(frozen=True)
class TaskKind:
    """What one kind of task predicts.

    Args:
        name: what a user asks for.
        title: what a sentence calls it.
        predicts: one ``class`` a row, ``labels`` that hold or do not, or ``numbers``; ``nothing``
            that is known.
        outputs: what each output of a network is.
        constant: the best answer that is the same for every row.
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
        """Whether a network says how sure it is."""
        return self.predicts in ("class", "labels")

    def __str__(self) -> str:
        return f"a {self.title}"


TASKS: dict[str, TaskKind] = {
    kind.name: kind
    for kind in (
        TaskKind("classification", "classification", "class", "one per class", "majority class"),
        TaskKind("regression", "regression", "numbers", "the predicted value", "mean target"),
        TaskKind(
            "multi-label",
            "multi-label classification",
            "labels",
            "one per label",
            "majority per label",
            is_several=True,
        ),
        TaskKind(
            "multi-output",
            "multi-output regression",
            "numbers",
            "one per target",
            "mean per target",
            is_several=True,
        ),
    )
}
"""Every kind of task by its name."""

OTHER = TaskKind("other", "task", "nothing", "", "mean target")
"""What a user's own training reports that is none of these: numbers without rows."""


def find_task(name: str) -> TaskKind:
    """Return the kind of that name, `OTHER` for ``other``.

    Raises:
        StudyError: there is no such task.

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
    """Return names as one text, those with a comma in quotes.

    >>> join_names(["height", "a,b"])
    'height,"a,b"'
    """
    quoted = (
        f'"{name.replace(chr(34), chr(34) * 2)}"' if _is_odd(name) else name for name in names
    )
    return ",".join(quoted)


def split_names(text: str) -> tuple[str, ...]:
    """Read what `join_names` wrote; spaces after a comma count for nothing.

    >>> split_names('height, "a,b"')
    ('height', 'a,b')
    """
    (found,) = csv.reader([text], skipinitialspace=True)
    return tuple(name.strip() for name in found)


def _is_odd(name: str) -> bool:
    return "," in name or name.startswith('"') or name != name.strip()


def name_several(names: Sequence[str]) -> str:
    """Return what a sentence calls several targets.

    >>> name_several(["a", "b"]), name_several("abcdefgh")
    ('a, b', 'a, b, c, d, e and 3 more')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
