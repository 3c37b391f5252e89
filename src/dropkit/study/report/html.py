"""Render the report page: one self-contained file, without scripts or requests."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from dropkit.study.analysis import Analysis
from dropkit.study.analysis.summary import knows_rows
from dropkit.study.analysis.words import count_repetitions, name_method
from dropkit.study.record.predictions import Predictions
from dropkit.study.report import figures, predicted
from dropkit.study.report.error_table import (
    ErrorTable,
    tabulate_classes,
    tabulate_labels,
    tabulate_numbers,
)
from dropkit.study.report.numbers import format_constant, format_rows, name_unit
from dropkit.study.report.wrapping import split_name
from dropkit.text import printable


@dataclass(frozen=True)
class PredictedSection:
    """The section of a page about predictions for the test rows."""

    intro: str
    shown: tuple[str, ...]
    figures: tuple[tuple[Markup, str], ...]
    table: ErrorTable | None = None


def render(analysis: Analysis, kept: Predictions | None = None) -> str:
    """Render the page as HTML text; every string of the user is escaped.

    ``kept`` holds the predictions for the test rows, if there are any.
    """
    record, measure = analysis.record, analysis.record.data.measure
    panels = [
        to_svg(
            figure,
            f"curve{number}",
            f"Validation {measure.short} against epoch for the baseline and {method}",
        )
        for number, (method, figure) in enumerate(figures.draw_curve_panels(analysis).items())
    ]
    page = load_template("report.html.j2").render(
        record=record,
        verdict=analysis.verdict,
        alerts=analysis.alerts,
        rows=format_rows(analysis),
        constant=format_constant(record),
        has_calibration=any(s.calibration is not None for s in analysis.summaries),
        has_rows=knows_rows(record),
        repetitions=count_repetitions(record),
        unit=name_unit(record),
        panels=panels,
        predicted=None if kept is None else _show_predictions(analysis, kept),
        errors=to_svg(
            figures.draw_errors(analysis),
            "errors",
            f"Final {measure.label} of every method and seed; the table has the numbers",
        ),
        cost=to_svg(
            figures.draw_costs(analysis),
            "cost",
            f"Training time and {measure.label}; the table has the numbers",
        ),
    )
    return printable(page)


def _show_predictions(analysis: Analysis, kept: Predictions) -> PredictedSection | None:
    record, shown = analysis.record, predicted.choose_shown(analysis, kept)
    if not shown:
        return None
    names = tuple(name_method(record, method) for method in shown)
    which, kind = predicted.describe_shown(analysis, shown), record.data.kind
    if kind.is_several:  # one figure cannot show several targets
        tabulate = tabulate_labels if kind.has_probabilities else tabulate_numbers
        return PredictedSection(which, names, (), tabulate(record, kept, shown))
    if kind.predicts == "numbers":
        figure = to_svg(
            predicted.draw_values(record, kept, shown), "values", "Predicted against true values"
        )
        caption = (
            "Predicted against true values of the test rows, and residuals; mean over the seeds."
        )
        return PredictedSection(which, names, ((figure, caption),))
    reliability = to_svg(
        predicted.draw_reliability(record, kept, shown), "reliability", "Accuracy by confidence"
    )
    reliability_caption = (
        "Accuracy of the predicted class in ten groups of test rows, ordered by confidence. On "
        "the dotted line, confidence equals accuracy; below it, the network is overconfident."
    ) + predicted.describe_calibration(analysis, shown)
    if not predicted.has_matrix(record):
        return PredictedSection(which, names, ((reliability, reliability_caption),))
    matrix = to_svg(
        predicted.draw_confusion(record, kept, shown), "confusion", "Classes that are confused"
    )
    caption = (
        "Of the test rows of each true class (row), the percentage predicted as each class "
        "(column); mean over the seeds."
    )
    table = tabulate_classes(record, kept, shown)
    return PredictedSection(
        which, names, ((matrix, caption), (reliability, reliability_caption)), table
    )


def load_template(name: str) -> Template:
    """Load a template from this folder; all values in it are escaped."""
    environment = Environment(
        loader=PackageLoader("dropkit.study.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pieces": split_name,
        "unbroken": _keep_together,
        "upper_first": _capitalize,
    }
    return environment.get_template(name)


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _keep_together(text: str) -> Markup:
    """Return the text without line breaks inside an interval or an option."""
    kept = re.sub(
        r"\[[^\[\]]{1,30}\]|--[a-z-]+", r'<span class="keep">\g<0></span>', str(escape(text))
    )
    return Markup(kept)


def to_svg(figure: Figure, name: str, label: str) -> Markup:
    """Render a figure as inline SVG in the page's text colour; ``name`` makes its ids unique."""
    out = io.StringIO()
    with mpl.rc_context(
        {"svg.hashsalt": name, "svg.fonttype": "path", "font.family": "sans-serif"}
    ):
        figure.savefig(
            out,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = out.getvalue()
    out.close()  # free the text, which has a point per run; the copies below are enough
    text = text[text.index("<svg") :].replace(figures.INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for before in ('id="', "url(#", 'href="#'):
        text = text.replace(before, f"{before}{name}-")
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))
