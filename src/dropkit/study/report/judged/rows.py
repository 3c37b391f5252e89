"""Format the numbers over several data sets for a terminal and a page."""

from __future__ import annotations

from dataclasses import dataclass

from dropkit.study.analysis.sets import MethodOverSets, SetsAnalysis
from dropkit.study.analysis.words import format_interval, format_p, format_value

NONE = "–"


@dataclass(frozen=True)
class SetsRow:
    """One method over all data sets, every cell as text; ``mark`` is better, worse or empty."""

    method: str
    rank: str
    difference: str
    bounds: str
    better: str
    p: str
    mark: str


@dataclass(frozen=True)
class DatasetRow:
    """One data set: the mean of every method, and its difference from the baseline."""

    dataset: str
    cells: tuple[DatasetCell, ...]


@dataclass(frozen=True)
class DatasetCell:
    """One method on one data set."""

    value: str
    difference: str = ""
    mark: str = ""
    arrow: str = ""


def format_sets(found: SetsAnalysis) -> tuple[SetsRow, ...]:
    """Format every method over all data sets, the best mean rank first."""
    return tuple(_format_method(found, summary) for summary in found.summaries)


def format_datasets(found: SetsAnalysis) -> tuple[DatasetRow, ...]:
    """Format every data set; the methods are in the order of their ranks."""
    differences = {(each.dataset, each.method): each for each in found.differences}
    rows = []
    for name, analysis in found.analyses.items():
        values = {summary.method: summary.value for summary in analysis.summaries}
        cells = []
        for summary in found.summaries:
            value, difference = values[summary.method], differences.get((name, summary.method))
            assert value is not None, "a data set that lacks a method was refused"
            shown = format_value(value.mean, found.measure)
            if difference is None:
                cells.append(DatasetCell(shown))
                continue
            mean = difference.difference.mean
            text = format_value(mean, found.measure, signed=True, within=difference.difference)
            mark = arrow = ""
            if difference.is_significant:
                mark = "better" if found.measure.cost(mean) < 0 else "worse"
                arrow = "▲" if mean > 0 else "▼"
            cells.append(DatasetCell(shown, text, mark, arrow))
        rows.append(DatasetRow(name, tuple(cells)))
    return tuple(rows)


def _format_method(found: SetsAnalysis, summary: MethodOverSets) -> SetsRow:
    rank, count = f"{summary.rank:.2f}", len(found.analyses)
    estimate = summary.difference
    if estimate is None:
        return SetsRow(summary.method, rank, "baseline", "", "", NONE, "")
    mark = ""
    if summary.is_significant and not found.are_few:
        mark = "better" if summary.better > summary.worse else "worse"
        if estimate.mean:
            mark = "better" if found.measure.cost(estimate.mean) < 0 else "worse"
    return SetsRow(
        method=summary.method,
        rank=rank,
        difference=format_value(estimate.mean, found.measure, signed=True, within=estimate),
        bounds="" if estimate.low is None else format_interval(estimate, found.measure),
        better=f"{summary.better} of {count}",
        p=NONE if summary.p_holm is None or found.are_few else format_p(summary.p_holm),
        mark=mark,
    )
