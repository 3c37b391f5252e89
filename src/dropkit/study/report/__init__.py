"""Analysis → terminal tables, one HTML file, one CSV file."""

from dropkit.study.report.files import write
from dropkit.study.report.html import render
from dropkit.study.report.terminal import show

__all__ = ["render", "show", "write"]
