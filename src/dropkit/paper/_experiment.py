"""Define an experiment: a figure or table of the paper, its function, and its budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dropkit.paper._outcome import Budget, Outcome


@dataclass(frozen=True)
class Size:
    """The settings of an experiment at one budget.

    Args:
        statement: what the experiment trains, and how this differs from the paper's protocol.
        settings: arguments of the experiment's function.
        complete: whether this budget trains as long as the paper.
    """

    statement: str
    settings: dict[str, Any]
    complete: bool = False


@dataclass(frozen=True)
class Experiment:
    """One figure or table that can be reproduced.

    Args:
        name: name on the command line.
        title: one line that describes the figure or table.
        source: its place in the paper or the article.
        run: function of `Trainings` and the settings of a `Size`; returns the `Outcome`.
        sizes: the `Size` of each budget.
        data: name of the data set, as in `load`; None if the experiment has its own data.
    """

    name: str
    title: str
    source: str
    run: Callable[..., Outcome]
    sizes: dict[Budget, Size]
    data: str | None = "mnist"
