"""What an experiment is: a figure or table of the paper, a function, and its budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dropkit.paper._outcome import Budget, Outcome


@dataclass(frozen=True)
class Size:
    """How much an experiment does at one budget.

    Args:
        statement: what is trained, and how that differs from the paper's protocol.
        settings: arguments of the experiment's function.
        complete: whether it trains as long as the paper does.
    """

    statement: str
    settings: dict[str, Any]
    complete: bool = False


@dataclass(frozen=True)
class Experiment:
    """One figure or table that can be reproduced.

    Args:
        name: of the command line.
        title: one line that says what is shown.
        source: where it stands in the paper or the article.
        run: from the trainings' keeper and a size's settings to an outcome.
        sizes: of its budgets.
        data: the set that it trains on, as `load` calls it; none where it makes its own.
    """

    name: str
    title: str
    source: str
    run: Callable[..., Outcome]
    sizes: dict[Budget, Size]
    data: str | None = "mnist"
