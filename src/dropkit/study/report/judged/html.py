"""Render the report page on finished runs: one self-contained file, without scripts."""

from __future__ import annotations

from collections.abc import Sequence

from dropkit.study.analysis import Analysis
from dropkit.study.analysis.sets import SetsAnalysis
from dropkit.study.analysis.sets_verdict import judge_sets
from dropkit.study.report.figures import draw_errors
from dropkit.study.report.html import load_template, to_svg
from dropkit.study.report.judged.ranks_figure import draw_ranks
from dropkit.study.report.judged.rows import format_datasets, format_sets
from dropkit.study.report.numbers import format_rows
from dropkit.text import printable


def render_runs(analysis: Analysis, alerts: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """Render the page on runs of one data set; every string of the user is escaped."""
    measure = analysis.record.data.measure
    label = f"{measure.label} of every run; the table has the numbers"
    page = load_template("judged/runs.html.j2").render(
        record=analysis.record,
        measure=measure,
        verdict=analysis.verdict,
        rows=list(zip(format_rows(analysis), analysis.summaries, strict=True)),
        figure=to_svg(draw_errors(analysis), "values", label),
        alerts=alerts,
        notes=notes,
    )
    return printable(page)


def render_sets(found: SetsAnalysis, notes: Sequence[str] = ()) -> str:
    """Render the page on several data sets; every string of the user is escaped."""
    label = "Mean rank of every method over the data sets; the table has the numbers"
    page = load_template("judged/sets.html.j2").render(
        found=found,
        measure=found.measure,
        verdict=judge_sets(found),
        rows=format_sets(found),
        datasets=format_datasets(found),
        ranks=to_svg(draw_ranks(found), "ranks", label) if found.friedman else None,
        notes=notes,
    )
    return printable(page)
