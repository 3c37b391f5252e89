"""Commands that write figures, tables and pages."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.files import RUNS
from dropkit.text import printable


@app.command(short_help="Reproduce a figure or table of the 2014 paper.")
def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Figure or table to reproduce; without it, list the names.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        Literal["quick", "short", "medium", "full"],
        option(
            "quick: about a minute on two cores. short: 2 to 25 minutes, table-mnist longer. "
            "medium: hours to days, for MNIST's figures and tables. full: the paper's protocol, "
            "which needs a GPU or a long time (default: quick)."
        ),
    ] = "quick",
    data_dir: Annotated[
        str | None, option("Folder with the data sets (default: $DROPKIT_DATA).", metavar="DIR")
    ] = None,
    jobs: Annotated[
        int | None,
        option("Number of parallel runs (default: number of cores).", metavar="N", min=1),
    ] = None,
    out: Annotated[
        Path | None, option("Output folder (default: dropkit-runs/NAME-BUDGET).", metavar="DIR")
    ] = None,
    finished: Annotated[
        bool, option("Train nothing; show what is finished (figure-4, table-mnist).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Reproduce a figure or table of Srivastava et al. 2014 on real data.

    Writes NAME.json, NAME.csv and NAME.svg, and prints our numbers next to the paper's. Every
    output states its budget. Repeat the command to resume an interrupted run.
    """
    from dropkit import paper
    from dropkit.cli._reproduction import show

    if name is None:
        for experiment in paper.experiments().values():
            print(f"{experiment.name}\n    {experiment.title} ({experiment.source})")
        return
    folder = out or RUNS / f"{name}-{budget}"
    show(
        paper.reproduce(
            name, budget, out=folder, data_dir=data_dir, jobs=jobs, only_finished=finished
        )
    )
    print(printable(f"\nwritten: {folder}"))


@app.command(short_help="Write an interactive introduction to dropout.")
def explain(
    out: Annotated[
        Path, typer.Argument(help="The file to write.", metavar="FILE.HTML", show_default=False)
    ] = Path("dropout.html"),
    debug: Debug = False,
) -> None:
    """Write an interactive introduction to dropout as one HTML page that works offline."""
    from dropkit.explain import write

    print(printable(f"written: {write(out)}"))
