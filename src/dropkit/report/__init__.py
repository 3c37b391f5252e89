"""Results → a terminal table, one HTML file, one CSV file."""

from dropkit.report.files import write
from dropkit.report.html import render
from dropkit.report.terminal import show

__all__ = ["render", "show", "write"]
