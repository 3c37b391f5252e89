"""Render how data are read as one self-contained page."""

from __future__ import annotations

from pathlib import Path

from dropkit.files import write_atomic
from dropkit.study.inspection import Inspection
from dropkit.study.report.html import load_template
from dropkit.text import printable


def render(inspection: Inspection) -> str:
    """Render the page as HTML text; every string of the user is escaped."""
    return printable(load_template("inspected/page.html.j2").render(found=inspection))


def write(inspection: Inspection, path: Path) -> None:
    """Write the page atomically."""
    write_atomic(path, render(inspection))
