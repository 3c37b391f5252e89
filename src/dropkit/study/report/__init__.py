"""Write an analysis as terminal tables, an HTML file and a CSV file."""

from dropkit.study.report.files import write
from dropkit.study.report.html import render
from dropkit.study.report.terminal import show

__all__ = ["render", "show", "write"]
