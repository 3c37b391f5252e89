"""The result of a reproduction: numbers, curves, a picture, and a comparison with the paper."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from matplotlib.figure import Figure

Budget = Literal["quick", "short", "medium", "full"]
Verdict = Literal["within the range", "outside the range", "budget too short", "no range"]
Row = dict[str, str | float | None]


@dataclass(frozen=True)
class Curve:
    """One curve of a figure, ``y`` at ``x``; curves of the same kind have the same group."""

    name: str
    group: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Check:
    """One measured number, compared with the paper.

    Args:
        what: what was measured.
        measured: the number.
        paper: what the paper reports, with † or ‡ if it is known from secondary sources.
        low: lower limit of the range in which a reproduction should be; None means no limit.
        high: upper limit. Both limits are None if the paper gives no number.
        full: whether the range is for trainings as long as the paper's. If so, a shorter training
            may miss the range because it has too few updates.
    """

    what: str
    measured: float
    paper: str
    low: float | None = None
    high: float | None = None
    full: bool = False

    def verdict(self, budget: Budget, complete: bool) -> Verdict:
        """Return whether the number is within the range, or that the budget is too short to tell.

        Args:
            budget: the budget of the measurement.
            complete: whether this budget trains as long as the paper.
        """
        if self.low is None and self.high is None:
            return "no range"
        if self.full and budget == "quick":
            return "budget too short"
        above = self.low is None or self.measured >= self.low
        if above and (self.high is None or self.measured <= self.high):
            return "within the range"
        return "budget too short" if self.full and not complete else "outside the range"


@dataclass(frozen=True)
class Outcome:
    """The numbers, checks and figures of one reproduction.

    Args:
        rows: the numbers, one row for each net, rate or size; all rows have the same keys.
        checks: numbers compared with the paper.
        figure: the picture.
        curves: the curves of the picture, if it has any.
        pictures: additional pictures; the keys are the last parts of their file names.
    """

    rows: list[Row]
    checks: list[Check]
    figure: Figure
    curves: list[Curve] = field(default_factory=list)
    pictures: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """An outcome with its context: name, budget, command, date and environment."""

    name: str
    title: str
    source: str
    budget: Budget
    complete: bool
    statement: str
    outcome: Outcome
    command: str
    date: str
    seconds: float
    environment: dict[str, str]

    def verdict(self, check: Check) -> Verdict:
        """Return the verdict of a check: whether the number is within the paper's range."""
        return check.verdict(self.budget, self.complete)

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the pictures, for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "budget": self.budget,
            "statement": self.statement,
            "command": self.command,
            "date": self.date,
            "seconds": round(self.seconds, 1),
            "environment": self.environment,
            "checks": [
                asdict(check) | {"verdict": self.verdict(check)} for check in self.outcome.checks
            ],
            "rows": self.outcome.rows,
            "curves": [asdict(curve) for curve in self.outcome.curves],
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """Return the rows as CSV text."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.outcome.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.outcome.rows)
        return text.getvalue()
