"""What a reproduction found: numbers, curves, a picture, and how they stand to the paper's."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from matplotlib.figure import Figure

Budget = Literal["quick", "short", "medium", "full"]
Verdict = Literal["inside the band", "outside", "budget too short", "no band"]
Row = dict[str, str | float | None]


@dataclass(frozen=True)
class Curve:
    """One line of a figure: ``y`` at ``x``; curves of one group belong together."""

    name: str
    group: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Check:
    """One number beside the paper's.

    Args:
        what: what was measured.
        measured: the number.
        paper: what the paper reports, with † or ‡ where it is known second-hand.
        low, high: the band in which a reproduction should fall; ``None`` is without end, and both
            are where the paper does not say.
        full: whether the band is of the paper's own protocol, so that a shorter training may miss
            it for want of updates alone.
    """

    what: str
    measured: float
    paper: str
    low: float | None = None
    high: float | None = None
    full: bool = False

    def verdict(self, budget: Budget, complete: bool) -> Verdict:
        """Return how it stands to the band; a quick run says nothing of what takes long.

        Args:
            budget: at which it was measured.
            complete: whether that trains as long as the paper does.
        """
        if self.low is None and self.high is None:
            return "no band"
        if self.full and budget == "quick":
            return "budget too short"
        above = self.low is None or self.measured >= self.low
        if above and (self.high is None or self.measured <= self.high):
            return "inside the band"
        return "budget too short" if self.full and not complete else "outside"


@dataclass(frozen=True)
class Outcome:
    """The numbers, checks and figures of one reproduction.

    Args:
        rows: the numbers, one row for each net, rate or size; all with the same keys.
        checks: numbers beside the paper's.
        figure: the picture.
        curves: the lines behind it, where it has lines.
        pictures: further pictures, by the last part of their file names.
    """

    rows: list[Row]
    checks: list[Check]
    figure: Figure
    curves: list[Curve] = field(default_factory=list)
    pictures: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Reproduction:
    """An outcome with its frame: what was reproduced, at which budget, on what, how."""

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
        """Return the verdict on a check: whether the number is inside the paper's range."""
        return check.verdict(self.budget, self.complete)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, ready for JSON."""
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
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """Return the rows as a table."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.outcome.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.outcome.rows)
        return text.getvalue()
