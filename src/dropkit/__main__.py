"""Entry point of the ``dropkit`` command."""

import sys


def main() -> None:
    """Run the command line; if a package is missing, exit with the command that installs it."""
    try:
        from dropkit.cli import run
    except ModuleNotFoundError as error:
        sys.exit(f"dropkit: the command line needs {error.name}; pip install 'dropkit[study]'")
    sys.exit(run())


if __name__ == "__main__":
    main()
