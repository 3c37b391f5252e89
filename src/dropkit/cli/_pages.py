"""Commands that write something to look at."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.text import printable


@app.command(short_help="Make a figure or table of the 2014 paper again.")
def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(
            help="What to reproduce; without it the names are listed.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        Literal["quick", "short", "medium", "full"],
        option(
            "quick: about a minute on two cores. short: 2 to 20 minutes, some up to an hour. "
            "medium: hours to days, for figures and tables of MNIST. full: the "
            "paper's protocol, for a GPU or with patience (quick)."
        ),
    ] = "quick",
    data_dir: Annotated[
        str | None, option("Folder with the data sets ($DROPKIT_DATA).", metavar="DIR")
    ] = None,
    jobs: Annotated[
        int | None,
        option("Trainings side by side (as many as there are cores).", metavar="N", min=1),
    ] = None,
    out: Annotated[
        Path | None, option("Folder to write (dropkit-runs/NAME-BUDGET).", metavar="DIR")
    ] = None,
    finished: Annotated[
        bool, option("Train nothing; show what is finished (figure-4, table-mnist).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make a figure or table of Srivastava et al. 2014 again, on real data.

    Writes NAME.json, NAME.csv and NAME.svg, and prints the numbers beside the paper's. Every
    output says at which budget it was made. The same command goes on where it was stopped.
    """
    from dropkit import paper
    from dropkit.cli._reproduction import show

    if name is None:
        for experiment in paper.experiments().values():
            print(f"{experiment.name}\n    {experiment.title} ({experiment.source})")
        return
    folder = out or Path("dropkit-runs") / f"{name}-{budget}"
    show(
        paper.reproduce(
            name, budget, out=folder, data_dir=data_dir, jobs=jobs, only_finished=finished
        )
    )
    print(printable(f"\nwritten: {folder}"))


@app.command(short_help="Write the introduction that one can play with.")
def explain(
    out: Annotated[
        Path, typer.Argument(help="The file to write.", metavar="FILE.HTML", show_default=False)
    ] = Path("dropout.html"),
    debug: Debug = False,
) -> None:
    """Write an introduction to dropout as one page to open in a browser; it needs no network."""
    from dropkit.explain import write

    print(printable(f"written: {write(out)}"))
