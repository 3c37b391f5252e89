"""Commands that run studies and report on them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.cli._options import explain, with_options
from dropkit.cli._study import present, run_given
from dropkit.study.config import Study
from dropkit.study.execution import Execution

EXAMPLES = """\b
Examples:
  dropkit compare digits
  dropkit compare digits --methods none,dropout,weight-decay --seeds 3 --epochs 20
  dropkit compare digits --hidden 256,256 --methods 'none,dropout(p=0.3)+max-norm(c=2)'
  dropkit compare train.py:train --seeds 3
"""

DataName = Annotated[
    str,
    typer.Argument(
        help=explain(Study, "data").removesuffix(".")
        + "; your own training function, as file.py:function; or a study.toml.",
        metavar="DATA",
        show_default=False,
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open the report in a browser.")]
Out = Annotated[str | None, option("Run folder (default: dropkit-runs/NAME-HASH).", metavar="DIR")]


@app.command(epilog=EXAMPLES, short_help="Compare regularizers on data.")
@with_options(Study, Execution, skip=["data"])
def compare(
    data: DataName = "digits",
    out: Out = None,
    open_report: Open = False,
    debug: Debug = False,
    **given: Any,
) -> None:
    """Compare regularizers on DATA and report which one helps, and how certain that is.

    Every method gets the same splits, initial weights and batch orders. Each finished run is scored
    once on the test rows. Progress goes to standard error, the verdict to standard output. The run
    folder contains report.html, results.json and results.csv. Repeat the command to resume an
    interrupted study. dropkit methods lists the methods.
    """
    present(*run_given(data, out, given), in_browser=open_report)


@app.command(short_help="Rebuild the report of a run folder.")
def report(
    run_dir: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN_DIR")],
    metric: Annotated[
        str | None,
        option(
            "Evaluate another metric, and write to a folder with its name in RUN_DIR.",
            metavar="METRIC",
        ),
    ] = None,
    open_report: Open = False,
    debug: Debug = False,
) -> None:
    """Rebuild the report of RUN_DIR from its results.json, without training.

    A metric that is chosen after the study is weaker evidence, and the report says so.
    """
    from dropkit.errors import StudyError
    from dropkit.study.results import Results

    runs = folder = Path(run_dir)
    if folder.is_file():
        raise StudyError(f"RUN_DIR must be a run folder, got the file {folder}; give its folder")
    results = Results.load(folder)
    if metric is not None:
        results, folder = results.by_metric(metric, folder), folder / metric
        folder.mkdir(exist_ok=True)
    present(results, folder, runs=runs, in_browser=open_report)


@app.command(short_help="List the methods.")
def methods(
    debug: Debug = False,
) -> None:
    """List the methods with their arguments, defaults and sources."""
    from dropkit.study.methods.catalogue import METHODS

    for method in METHODS.values():
        source = f" ({method.source})" if method.source else ""
        print(f"{method.name}\n    {method.summary}{source}")
        for argument in method.arguments:
            print(f"      {argument.name}={argument.default:g}  {argument.meaning}")
