"""Define `judge`, which compares methods from finished runs of any tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dropkit.study.python_words import in_python, raise_in_python_words

if TYPE_CHECKING:
    import pandas as pd

    from dropkit.study.judging.judgment import Judgment


@raise_in_python_words()
def judge(
    runs: pd.DataFrame | str | Path | Sequence[str | Path | Mapping[str, Any]],
    *,
    method_column: str | None = None,
    seed_column: str | None = None,
    dataset_column: str | None = None,
    score_column: str | None = None,
    higher_is_better: bool | None = None,
    baseline: str | None = None,
    paired: bool | None = None,
    drop_missing: bool = False,
    worthwhile: float | None = None,
    task: Literal["classification", "regression"] | None = None,
) -> Judgment:
    """Compare methods from finished runs: which is better, by how much, and how certain that is.

    If the methods have the same seeds, their scores are compared by the paired t-test; otherwise by
    Welch's test. With several data sets, each method is compared with the baseline by Wilcoxon's
    signed-rank test. p-values are corrected by Holm's procedure.

    Args:
        runs: a DataFrame; the path of a CSV, TSV, JSON-lines, JSON or Parquet file; a list of such
            paths; or a list of dictionaries, one per row. The table has one row per run, per logged
            step of a run, or per prediction; or it has one column of scores per method.
        method_column: the column with the methods; by default recognized by its name.
        seed_column: the column with seeds or folds, used to pair runs.
        dataset_column: the column with data sets.
        score_column: the column with scores.
        higher_is_better: whether a higher score is better; by default inferred from the score's
            name.
        baseline: the method that the others are compared with; by default one called ``none``,
            ``baseline`` or similar, otherwise the first.
        paired: whether to pair runs with the same seed; by default they are paired if the methods
            have the same seeds.
        drop_missing: whether to leave out runs without a score and data sets that lack a method,
            instead of raising an error.
        worthwhile: the smallest difference that matters: in percentage points (1 means 0.01) if the
            score is a fraction, otherwise in the score's units.
        task: whether predictions are classes or numbers, if that cannot be inferred.

    Returns:
        The `Judgment`; ``print(judgment)`` gives the verdict, ``judgment.table()`` the numbers.

    Raises:
        StudyError: the table cannot be used; the message says how to fix it.

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

    judgment = judge_table(
        open_runs(runs),
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
    return replace(judgment, notes=tuple(map(in_python, judgment.notes)))
