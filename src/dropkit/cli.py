"""The command line: arguments → study → report."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import dropkit

if TYPE_CHECKING:
    from dropkit.doctor import Diagnosis
    from dropkit.study import Results

USAGE_ERROR, INTERRUPTED = 2, 130

EXAMPLES = """\b
Examples:
  dropkit compare digits
  dropkit compare digits --methods none,dropout,weight-decay --seeds 3 --epochs 20
  dropkit compare digits --hidden 256,256 --methods 'none,dropout(p=0.3)+max-norm(c=2)'
"""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: list[str] | None = None) -> int:
    """Run the command with these arguments, or the process's, and return its exit code.

    What the user can put right ends in one line on standard error and exit code 2; ``--debug``
    shows the traceback instead.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(words or ["--help"], prog_name="dropkit", standalone_mode=False)
        _flush()
    except SystemExit as end:  # the reader went away while something was printed
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
        print(f"dropkit: {' '.join(_explain(error).split())}", file=sys.stderr)
        return USAGE_ERROR
    return code or 0


def _flush() -> None:
    """Write out what was printed; what cannot be written is dropped, or exit would fail on it."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _explain(error: Exception) -> str:
    if hasattr(error, "format_message"):  # typer's: a wrong option, argument or command
        return f"{error.format_message().rstrip('.')}; see --help"
    from dropkit.study import StudyError

    if isinstance(error, StudyError):
        return str(error)
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "; free some space and run the same command again to go on" if full else ""
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
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Dropout, and the regularization around it, compared honestly."""


def _option(help: str, *names: str, metavar: str | None = None, min: int | None = None) -> Any:
    return typer.Option(*names, help=help, metavar=metavar, min=min, show_default=False)


@app.command(epilog=EXAMPLES, short_help="Compare regularizers on data.")
def compare(
    data: Annotated[
        str,
        typer.Argument(
            help="digits, mnist, fashion-mnist, fsdd, 20ng-bow, dna; a .csv, .tsv, .parquet or "
            ".npz file; a folder of images with one subfolder per class; or a study.toml.",
            metavar="DATA",
            show_default=False,
        ),
    ] = "digits",
    methods: Annotated[
        str | None,
        _option(
            "Methods, joined by commas; + combines them, for example 'none,dropout(p=0.3)+l1'. "
            "dropkit methods lists them.",
            metavar="LIST",
        ),
    ] = None,
    model: Annotated[str | None, _option("mlp, cnn, or file.py:function.", metavar="MODEL")] = None,
    hidden: Annotated[
        str | None, _option("Widths of mlp's hidden layers (512,512).", metavar="WIDTHS")
    ] = None,
    target: Annotated[str | None, _option("Column to predict.", metavar="COLUMN")] = None,
    test: Annotated[str | None, _option("File with a fixed test set.", metavar="FILE")] = None,
    task: Annotated[
        Literal["classification", "regression"] | None, _option("Overrides what is inferred.")
    ] = None,
    header: Annotated[
        bool | None,
        _option(
            "Whether a table's first line names its columns (detected).", "--header/--no-header"
        ),
    ] = None,
    data_dir: Annotated[
        str | None, _option("Folder with known data sets ($DROPKIT_DATA).", metavar="DIR")
    ] = None,
    seeds: Annotated[int | None, _option("Paired repetitions (5).", metavar="N")] = None,
    epochs: Annotated[
        int | None,
        _option("Passes over the training rows (20 to 100, about 2,000 updates).", metavar="N"),
    ] = None,
    batch_size: Annotated[int | None, _option("Rows per update (128).", metavar="N")] = None,
    lr: Annotated[
        float | None, _option("Learning rate of the plain net (0.05).", metavar="RATE")
    ] = None,
    tune: Annotated[
        int | None,
        _option("Trials per method that search its arguments on validation rows (0).", metavar="N"),
    ] = None,
    weights: Annotated[
        Literal["final", "best"] | None,
        _option(
            "Which weights are scored, for every method: those of the final update or of the "
            "best validation loss (final)."
        ),
    ] = None,
    val_fraction: Annotated[
        float | None, _option("Share of rows to validate on (0.2).", metavar="SHARE")
    ] = None,
    test_fraction: Annotated[
        float | None, _option("Share of rows locked for testing (0.2).", metavar="SHARE")
    ] = None,
    threads: Annotated[
        int | None, _option("Processor threads per training (1).", metavar="N")
    ] = None,
    jobs: Annotated[
        int | None,
        _option("Trainings side by side (as many as the cores allow).", metavar="N", min=1),
    ] = None,
    out: Annotated[
        Path | None, _option("Run folder (dropkit-runs/NAME-HASH).", metavar="DIR")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Compare regularizers on DATA and say which helps, with uncertainty.

    Every method sees the same splits, initial weights and batch orders; the test rows are used
    once per finished training. Progress goes to standard error, the verdict to standard output;
    the run folder gets report.html, results.json and results.csv. The same command resumes an
    interrupted study.
    """
    from dropkit.study import Study, expression
    from dropkit.study.check import with_epochs
    from dropkit.study.compare import command, load_data, run_folder, run_study

    given = {
        "methods": None if methods is None else expression.parse_list(methods),
        "hidden": None if hidden is None else _widths(hidden),
        "model": model,
        "target": target,
        "test": test,
        "task": task,
        "header": header,
        "data_dir": data_dir,
        "seeds": seeds,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "tune": tune,
        "weights": weights,
        "val_fraction": val_fraction,
        "test_fraction": test_fraction,
        "threads": threads,
    }
    base = Study.from_toml(data).to_dict() if data.endswith(".toml") else {"data": data}
    study = Study.from_dict(base | {k: v for k, v in given.items() if v is not None})
    rows = load_data(study)
    study = with_epochs(study, rows)
    folder = run_folder(study, rows, study.model, out)
    try:
        results = run_study(study, rows, study.model, folder.path, jobs=jobs)
    except KeyboardInterrupt:
        print(
            f"\ndropkit: stopped; finished trainings are kept in {folder.path}. To go on:\n"
            f"  {command(study)}" + (f" --out {out}" if out else ""),
            file=sys.stderr,
        )
        raise
    _present(results, folder.path)


def _present(results: "Results", folder: Path) -> None:
    """Write the report's files and print the verdict, the table and where the report is."""
    from dropkit import report as reporting

    reporting.write(results, folder)
    reporting.show(results)
    print(f"\nreport: {folder / 'report.html'}")


def _widths(text: str) -> tuple[int, ...]:
    from dropkit.study import StudyError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise StudyError(
            f"--hidden must be whole numbers joined by commas, such as 512,512; got {text!r}"
        ) from None


@app.command(short_help="Rebuild the report of a run folder.")
def report(
    run_dir: Annotated[
        Path, typer.Argument(help="A run folder.", metavar="RUN_DIR", show_default=False)
    ],
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Rebuild the report of RUN_DIR from its results.json, without training."""
    from dropkit.study import Results

    _present(Results.load(run_dir), run_dir)


@app.command(short_help="List the methods.")
def methods(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """List the methods with their arguments, defaults and sources."""
    from dropkit.study.methods import METHODS

    for method in METHODS.values():
        source = f" ({method.source})" if method.source else ""
        print(f"{method.name}\n    {method.summary}{source}")
        for argument in method.arguments:
            print(f"      {argument.name}={argument.default:g}  {argument.meaning}")


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
        Literal["quick", "short", "full"],
        _option(
            "quick: about a minute on two cores. short: up to about 20 minutes. full: the paper's "
            "protocol, for a GPU or a cluster (quick)."
        ),
    ] = "quick",
    data_dir: Annotated[
        str | None, _option("Folder with the data sets ($DROPKIT_DATA).", metavar="DIR")
    ] = None,
    jobs: Annotated[
        int | None,
        _option("Trainings side by side (as many as there are cores).", metavar="N", min=1),
    ] = None,
    out: Annotated[
        Path | None, _option("Folder to write (dropkit-runs/NAME-BUDGET).", metavar="DIR")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Make a figure or table of Srivastava et al. 2014 again, on real data.

    Writes NAME.json, NAME.csv and NAME.svg, and prints the numbers beside the paper's. Every
    output says at which budget it was made. The same command goes on where it was stopped.
    """
    from dropkit import paper
    from dropkit.report.reproduction import show

    if name is None:
        for experiment in paper.experiments().values():
            print(f"{experiment.name}\n    {experiment.title} ({experiment.source})")
        return
    folder = out or Path("dropkit-runs") / f"{name}-{budget}"
    show(paper.reproduce(name, budget, out=folder, data_dir=data_dir, jobs=jobs))
    print(f"\nwritten: {folder}")


@app.command(short_help="Write the introduction that one can play with.")
def explain(
    out: Annotated[
        Path, typer.Argument(help="The file to write.", metavar="FILE.HTML", show_default=False)
    ] = Path("dropout.html"),
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Write an introduction to dropout as one page to open in a browser; it needs no network."""
    from dropkit.explain import write

    print(f"written: {write(out)}")


@app.command(short_help="Find what is wrong with the dropout in a model.")
def doctor(
    model: Annotated[
        str,
        typer.Argument(
            help="A function without arguments that returns the model; or (model, example), the "
            "example being a batch of inputs to run it on; or (model, example, data), with the "
            "pair of training and validation rows.",
            metavar="FILE.PY:FUNCTION",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find what is wrong with the dropout in a model: where, what was measured, what to do.

    Exit code 0: nothing found. 1: there are findings. 2: the model cannot be examined.
    """
    import json
    from contextlib import redirect_stdout

    # Whatever the user's code prints must not end up in the JSON.
    with redirect_stdout(sys.stderr):
        diagnosis = _examine(model)
    if as_json:
        print(json.dumps(diagnosis.to_dict(), indent=2, ensure_ascii=False))
    else:
        from dropkit.report.diagnosis import show

        show(diagnosis)
    if diagnosis.findings:
        raise typer.Exit(1)


def _examine(spec: str) -> "Diagnosis":
    from dropkit.doctor import doctor as examine
    from dropkit.study import StudyError
    from dropkit.study.models import call_function, load_function

    if ":" not in spec:
        raise StudyError(f"give the model as file.py:function, got {spec!r}")
    made = call_function(load_function(spec))
    model, example, data = (*(made if isinstance(made, tuple) else (made,)), None, None)[:3]
    try:
        return examine(model, example, data=data)
    except (TypeError, ValueError) as error:
        raise StudyError(str(error)) from error
