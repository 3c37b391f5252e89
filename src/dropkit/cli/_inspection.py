"""The command ``inspect``, which shows how data will be read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.cli._options import explain, with_options
from dropkit.study.config import DATA_SETTINGS, Study
from dropkit.study.settings import names
from dropkit.text import printable

EXAMPLES = """\b
Examples:
  dropkit inspect houses.csv
  dropkit inspect houses.csv --target price --read zip=category --html houses.html
"""


@app.command(epilog=EXAMPLES, short_help="Show how data are read, before training.")
@with_options(Study, skip=set(names(Study)) - set(DATA_SETTINGS))
def inspect(
    data: Annotated[
        str, typer.Argument(help=explain(Study, "data"), metavar="DATA", show_default=False)
    ],
    html: Annotated[
        Path | None, option("Also write an HTML page with all columns.", metavar="FILE")
    ] = None,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Show how every column of DATA is read, the target with its classes, and what looks wrong.

    With the same options, dropkit compare reads DATA in the same way. Nothing is trained.
    """
    from dropkit.study._inspect import inspect as inspect_data
    from dropkit.study.report.inspected import html as page
    from dropkit.study.report.inspected.terminal import show

    settings = {name: value for name, value in given.items() if value is not None}
    found = inspect_data(data, **settings)
    show(found)
    if html is not None:
        page.write(found, html)
        print(printable(f"\nwritten: {html}"))
