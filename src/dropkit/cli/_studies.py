"""Commands that run a study, and report on one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.cli._study import present, run_given

EXAMPLES = """\b
Examples:
  dropkit compare digits
  dropkit compare digits --methods none,dropout,weight-decay --seeds 3 --epochs 20
  dropkit compare digits --hidden 256,256 --methods 'none,dropout(p=0.3)+max-norm(c=2)'
"""


Model = Annotated[str | None, option("mlp, cnn, or file.py:function.", metavar="MODEL")]
Hidden = Annotated[str | None, option("Widths of mlp's hidden layers (512,512).", metavar="WIDTHS")]
Target = Annotated[str | None, option("Column to predict.", metavar="COLUMN")]
Test = Annotated[str | None, option("File with a fixed test set.", metavar="FILE")]
DataDir = Annotated[
    str | None, option("Folder with known data sets ($DROPKIT_DATA).", metavar="DIR")
]
Preprocess = Annotated[
    bool | None,
    option(
        "Whether features are standardized and encoded (yes); without, MODEL gets numbers as they "
        "are, whole ones as integers.",
        "--preprocess/--no-preprocess",
    ),
]
Epochs = Annotated[
    int | None,
    option("Passes over the training rows (20 to 100, about 2,000 updates).", metavar="N"),
]
BatchSize = Annotated[int | None, option("Rows per update (128).", metavar="N")]
LearningRate = Annotated[
    float | None, option("Learning rate of the plain net (0.05).", metavar="RATE")
]
Threads = Annotated[int | None, option("Processor threads per training (1).", metavar="N")]
Devices = Annotated[
    int | None,
    option("GPUs, or processes without any, that share every batch (1).", metavar="N"),
]
Strategy = Annotated[
    Literal["ddp"] | None, option("How several devices train one net together (ddp).")
]
Out = Annotated[
    str | None,
    option("Run folder (dropkit-runs/NAME-HASH).", metavar="DIR"),
]


@app.command(epilog=EXAMPLES, short_help="Compare regularizers on data.")
def compare(
    data: Annotated[
        str,
        typer.Argument(
            help="digits, mnist, fashion-mnist, fsdd, 20ng-bow, dna, sst-2; a .csv, .tsv, .txt, "
            ".parquet or .npz file; a folder of images with one subfolder per class; or a "
            "study.toml.",
            metavar="DATA",
            show_default=False,
        ),
    ] = "digits",
    methods: Annotated[
        str | None,
        option(
            "Methods, joined by commas; + combines them, for example 'none,dropout(p=0.3)+l1'. "
            "dropkit methods lists them.",
            metavar="LIST",
        ),
    ] = None,
    model: Model = None,
    hidden: Hidden = None,
    target: Target = None,
    test: Test = None,
    task: Annotated[
        Literal["classification", "regression"] | None, option("Overrides what is inferred.")
    ] = None,
    header: Annotated[
        bool | None,
        option(
            "Whether a table's first line names its columns (detected).", "--header/--no-header"
        ),
    ] = None,
    data_dir: DataDir = None,
    preprocess: Preprocess = None,
    seeds: Annotated[int | None, option("Paired repetitions (5).", metavar="N")] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    tune: Annotated[
        int | None,
        option("Trials per method that search its arguments on validation rows (0).", metavar="N"),
    ] = None,
    prune: Annotated[
        bool | None,
        option(
            "Whether trials after the tenth end early that fall behind the median (no).",
            "--prune/--no-prune",
        ),
    ] = None,
    weights: Annotated[
        Literal["final", "best"] | None,
        option(
            "Which weights are scored, for every method: those of the final update or of the "
            "best validation loss (final)."
        ),
    ] = None,
    val_fraction: Annotated[
        float | None, option("Share of rows to validate on (0.2).", metavar="SHARE")
    ] = None,
    test_fraction: Annotated[
        float | None, option("Share of rows locked for testing (0.2).", metavar="SHARE")
    ] = None,
    threads: Threads = None,
    devices: Devices = None,
    strategy: Strategy = None,
    jobs: Annotated[
        int | None,
        option("Trainings side by side (as many as the cores allow).", metavar="N", min=1),
    ] = None,
    time_limit: Annotated[
        float | None, option("Give up a training that takes longer.", metavar="MINUTES")
    ] = None,
    ray: Annotated[
        str | None,
        option(
            "Train on a Ray cluster: auto, or host:port of its head node.",
            metavar="ADDRESS",
        ),
    ] = None,
    cpus_per_run: Annotated[
        float | None,
        option("Cores that a training reserves on the cluster (--threads).", metavar="N"),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        option(
            "GPUs that a training reserves on the cluster, or a fraction of one (0).", metavar="N"
        ),
    ] = None,
    out: Out = None,
    debug: Debug = False,
) -> None:
    """Compare regularizers on DATA and say which helps, with uncertainty.

    Every method sees the same splits, initial weights and batch orders; the test rows are used
    once per finished training. Progress goes to standard error, the verdict to standard output;
    the run folder gets report.html, results.json and results.csv. The same command resumes an
    interrupted study.
    """
    results, folder = run_given(
        data,
        out,
        {
            "jobs": jobs,
            "ray": ray,
            "cpus_per_run": cpus_per_run,
            "gpus_per_run": gpus_per_run,
            "time_limit": time_limit,
        },
        methods=methods,
        hidden=hidden,
        model=model,
        target=target,
        test=test,
        task=task,
        header=header,
        data_dir=data_dir,
        preprocess=preprocess,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        tune=tune,
        prune=prune,
        weights=weights,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        threads=threads,
        devices=devices,
        strategy=strategy,
    )
    present(results, folder)


@app.command(short_help="Rebuild the report of a run folder.")
def report(
    run_dir: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN_DIR")],
    debug: Debug = False,
) -> None:
    """Rebuild the report of RUN_DIR from its results.json, without training."""
    from dropkit.study import Results, StudyError

    folder = Path(run_dir)
    if folder.is_file():
        raise StudyError(f"RUN_DIR must be a run folder, got the file {folder}; give its folder")
    present(Results.load(folder), folder)


@app.command(short_help="List the methods.")
def methods(
    debug: Debug = False,
) -> None:
    """List the methods with their arguments, defaults and sources."""
    from dropkit.study.methods import METHODS

    for method in METHODS.values():
        source = f" ({method.source})" if method.source else ""
        print(f"{method.name}\n    {method.summary}{source}")
        for argument in method.arguments:
            print(f"      {argument.name}={argument.default:g}  {argument.meaning}")
