"""`judge`: a verdict on runs that already exist, from any tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

    from dropkit.study.judging.judgment import Judgment


def judge(
    runs: pd.DataFrame | str | Path | Sequence[str | Path | Mapping[str, Any]],
    *,
    method_column: str | None = None,
    seed_column: str | None = None,
    dataset_column: str | None = None,
    score: str | None = None,
    higher_is_better: bool | None = None,
    baseline: str | None = None,
    paired: bool | None = None,
    drop_missing: bool = False,
    worthwhile: float | None = None,
    task: Literal["classification", "regression"] | None = None,
) -> Judgment:
    """Judge runs that already exist: which method is better, by how much, and how surely.

    Where the methods have the same seeds, their scores are compared seed by seed with the paired
    t-test; otherwise with Welch's. Over several data sets, Wilcoxon's signed ranks compare each
    method with the baseline. p-values are corrected by Holm's procedure.

    Args:
        runs: a DataFrame; the path of a CSV, TSV, JSON-lines, JSON or Parquet file, or of several;
            or dictionaries. One row per run, per logged step of a run, or per prediction; or a
            column of scores for every method.
        method_column: the column that says what is compared; guessed from its name if not given.
        seed_column: the column of seeds, or folds, which pair the runs.
        dataset_column: the column of data sets.
        score: the column of scores.
        higher_is_better: whether a higher score is better; told from the score's name if not given.
        baseline: the method that the others are compared with; if not given, one that is called
            ``none``, ``baseline`` or the like, else the first.
        paired: whether runs with the same seed are paired; where the methods have the same seeds if
            not given.
        drop_missing: leave out runs without a score, and data sets that lack a method, instead of
            refusing them.
        worthwhile: the smallest difference that matters, in the score's units, or in points of one
            that is a share: what is shown to be smaller is no difference.
        task: what predictions are, if it cannot be told from them.

    Returns:
        The `Judgment`; ``print(judgment)`` gives the verdict, ``judgment.table()`` the numbers.

    Raises:
        StudyError: the table cannot be judged as it is; one line says what to do.

    >>> runs = [
    ...     {"method": method, "seed": seed, "accuracy": 0.8 + gain + 0.01 * seed}
    ...     for method, gains in {"none": (0, 0, 0), "dropout": (0.05, 0.06, 0.04)}.items()
    ...     for seed, gain in enumerate(gains)
    ... ]
    >>> print(judge(runs).verdict.headline)
    dropout raises the accuracy by 5.00 points [2.52, 7.48] against the baseline

    References:
        Demšar (2006), "Statistical comparisons of classifiers over multiple data sets".
    """
    from dropkit.study.judging.judgment import judge_table
    from dropkit.study.judging.sources import open_runs

    return judge_table(
        open_runs(runs),
        {"method": method_column, "seed": seed_column, "dataset": dataset_column, "score": score},
        higher_is_better=higher_is_better,
        baseline=baseline,
        paired=paired,
        drop_missing=drop_missing,
        worthwhile=worthwhile,
        task=task,
    )
