"""Estimate how long more seeds would take."""

from __future__ import annotations

import re
from statistics import median

from dropkit.study.record import Record


def estimate_seconds(record: Record, seeds: int) -> float | None:
    """Estimate the seconds until a study has ``seeds`` seeds; ``None`` if times are unknown.

    The estimate is the sum of every method's median run time for the remaining seeds, divided by
    the number of parallel runs. With folds, each seed has one run per fold.
    """
    times = [[run.timing.seconds for run in record.of(method)] for method in record.methods]
    if not all(times):
        return None
    per_seed = sum(map(median, times))
    done = len(record.of(record.baseline))
    side_by_side = re.match(r"\d+", record.timing.get("jobs", ""))
    seconds = (
        per_seed
        * max(0, seeds * (record.folds or 1) - done)
        / (int(side_by_side[0]) if side_by_side else 1)
    )
    return seconds or None


def format_seconds(seconds: float) -> str:
    """Format a duration in its largest unit.

    >>> [format_seconds(seconds) for seconds in (0.2, 45, 600, 7000, 200000)]
    ['1 s', '45 s', '10 min', '2 h', '2 days']
    """
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
