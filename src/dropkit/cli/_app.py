"""The command-line program, and the code that all commands share."""

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

import dropkit
from dropkit.text import printable

USAGE_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def run(arguments: list[str] | None = None) -> int:
    """Run the command with these arguments (default: ``sys.argv``), and return its exit code.

    An error that the user can fix is printed as one line on standard error, with exit code 2. With
    ``--debug`` the traceback is shown instead.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(words or ["--help"], prog_name="dropkit", standalone_mode=False)
        _flush()
    except SystemExit as end:  # the reader closed the pipe while the command was printing
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if "--debug" in words:
            raise
        with suppress(OSError):
            _flush()
        print(f"dropkit: {printable(' '.join(_explain(error).split()))}", file=sys.stderr)
        return USAGE_ERROR
    return code or 0


def _flush() -> None:
    """Flush standard output; if that fails, redirect it, so that the exit does not fail again."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _explain(error: Exception) -> str:
    if hasattr(error, "format_message"):  # typer's errors: wrong options, arguments or commands
        return f"{error.format_message().rstrip('.')}; see --help"
    from dropkit.errors import StudyError

    if isinstance(error, StudyError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("dropkit"):
        return f"this needs {error.name}, which is not installed: pip install 'dropkit[study]'"
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; free some space and repeat the command to resume" if full else ""
        return f"{error.strerror or error}{place}{hint}"
    return f"unexpected {type(error).__name__}: {error}; add --debug to see where"


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"dropkit {dropkit.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, help="Print the version.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Add dropout to PyTorch models, and compare regularizers on your data."""


def option(help: str, *names: str, metavar: str | None = None, min: int | None = None) -> Any:
    """Return an option whose help text contains its default."""
    return typer.Option(*names, help=help, metavar=metavar, min=min, show_default=False)
