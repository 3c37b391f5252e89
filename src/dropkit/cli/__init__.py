"""The command line: arguments → study → report."""

from dropkit.cli import _doctor, _inspection, _judge, _pages, _studies  # noqa: F401 (these modules register their commands)
from dropkit.cli._app import run

__all__ = ["run"]
