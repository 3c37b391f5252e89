"""Entry point of the ``dropkit`` command."""

import sys


def main() -> None:
    """Run the command line, or exit with the name of the missing extra."""
    try:
        from dropkit.cli import run
    except ModuleNotFoundError as error:
        sys.exit(
            f"dropkit: the command line needs {error.name}; pip install 'dropkit[study]' has it"
        )
    sys.exit(run())


if __name__ == "__main__":
    main()
