"""The report page: one self-contained file, without scripts and without requests."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from dropkit.report.numbers import rows, unit
from dropkit.study import figures
from dropkit.study.results import Results
from dropkit.study.verdict import verdict


def render(results: Results) -> str:
    """The page as HTML text; every string of the user's is escaped."""
    environment = Environment(
        loader=PackageLoader("dropkit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = verdict(results)
    return environment.get_template("report.html.j2").render(
        results=results,
        said=said,
        rows=rows(results),
        unit=unit(results),
        curves=svg(
            figures.curves(results),
            "curves",
            f"Validation error against epoch for {', '.join(results.methods)}",
        ),
        errors=svg(
            figures.errors(results),
            "errors",
            "Final test error of every method and seed; the table has the numbers",
        ),
        cost=svg(
            figures.cost(results),
            "cost",
            "Test error against training time; the table has the numbers",
        ),
    )


def svg(figure: Figure, name: str, label: str) -> Markup:
    """A figure as inline SVG in the page's own ink, its identifiers kept apart by ``name``."""
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
    text = text[text.index("<svg") :].replace(figures.INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))
