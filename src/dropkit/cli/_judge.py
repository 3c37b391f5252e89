"""The command ``judge``, which compares methods from finished runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dropkit.cli._app import Debug, app, option
from dropkit.text import printable

EXAMPLES = """\b
Examples:
  dropkit judge results.csv
  dropkit judge results.csv --score-column test_acc --baseline none --out verdict
  dropkit judge run-*-tag-val_acc.csv
"""


@app.command(epilog=EXAMPLES, short_help="Compare methods from finished runs of any tool.")
def judge(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="CSV, TSV, JSON-lines, JSON or Parquet files: a row per run, per logged step or "
            "per prediction, or a column of scores for every method; also what Weights & Biases, "
            "MLflow and TensorBoard export.",
            metavar="FILE…",
            show_default=False,
        ),
    ],
    method_column: Annotated[
        str | None, option("Column with the methods (default: detected).", metavar="COLUMN")
    ] = None,
    seed_column: Annotated[
        str | None,
        option(
            "Column with seeds or folds, used to pair runs (default: detected).", metavar="COLUMN"
        ),
    ] = None,
    dataset_column: Annotated[
        str | None,
        option(
            "Column with data sets (default: detected).",
            "--dataset-column",
            "--dataset",
            metavar="COLUMN",
        ),
    ] = None,
    score_column: Annotated[
        str | None, option("Column with scores (default: detected).", metavar="COLUMN")
    ] = None,
    higher_is_better: Annotated[
        bool | None,
        option(
            "Whether a higher score is better (default: from the score's name).",
            "--higher-is-better/--lower-is-better",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        option(
            "Method that the others are compared with (default: none, or the first).",
            metavar="METHOD",
        ),
    ] = None,
    paired: Annotated[
        bool | None,
        option(
            "Whether to pair runs with the same seed (default: if all seeds match).",
            "--paired/--unpaired",
        ),
    ] = None,
    drop_missing: Annotated[
        bool,
        option(
            "Leave out runs without a score, and data sets that lack a method.", "--drop-missing"
        ),
    ] = False,
    worthwhile: Annotated[
        float | None,
        option("Smallest difference that matters, in points or in the score's units.", metavar="X"),
    ] = None,
    task: Annotated[
        Literal["classification", "regression"] | None,
        option("Whether predictions are classes or numbers (default: from the targets)."),
    ] = None,
    out: Annotated[
        Path | None, option("Folder for report.html and judgment.json.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Report which method is better, by how much, and how certain that is, from finished runs.

    If the methods have the same seeds, runs are paired by seed; otherwise Welch's test is used.
    Several data sets are compared by ranks. Nothing is trained.
    """
    import json

    from dropkit.study.judging.judgment import judge_table
    from dropkit.study.judging.sources import open_runs

    judgment = judge_table(
        open_runs(files),
        method_column=method_column,
        seed_column=seed_column,
        dataset_column=dataset_column,
        score_column=score_column,
        higher_is_better=higher_is_better,
        baseline=baseline,
        paired=paired,
        drop_missing=drop_missing,
        worthwhile=worthwhile,
        task=task,
    )
    if out is not None:
        judgment.save(out)
    if as_json:
        print(json.dumps(judgment.to_dict(), indent=1, ensure_ascii=False, allow_nan=False))
        return
    judgment.show()
    if out is not None:
        print(printable(f"\nreport: {out / 'report.html'}"))
