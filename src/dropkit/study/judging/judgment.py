"""Compute the verdict on a table of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.errors import StudyError
from dropkit.study.analysis import Analysis, Verdict, analyze
from dropkit.study.analysis.sets import SetsAnalysis, analyze_sets
from dropkit.study.analysis.sets_verdict import judge_sets
from dropkit.study.judging import metrics
from dropkit.study.judging.columns import (
    Columns,
    find_columns,
    find_unfinished,
    measure_overlap,
)
from dropkit.study.judging.predictions import read_predictions
from dropkit.study.judging.records import choose_measure, record_predictions, record_scores
from dropkit.study.judging.runs import Key, are_paired, check_methods, read_scores
from dropkit.study.judging.table import Table
from dropkit.study.record import Record
from dropkit.study.tasks import name_several
from dropkit.text import nearest

if TYPE_CHECKING:
    import pandas as pd

_BASELINES = (
    "none", "baseline", "base", "control", "vanilla", "plain", "standard", "default", "reference",
    "no dropout", "no regularization",
)  # fmt: skip


@dataclass(frozen=True)
class Judgment:
    """The comparison of finished runs: ``print(judgment)`` gives the verdict, `table` the numbers.

    Attributes:
        columns: the column used for each role.
        analyses: the analysis of each data set, by name.
        sets: the analysis over all data sets; ``None`` for a single one.
        notes: how the table was read, as sentences.
    """

    columns: Columns
    analyses: dict[str, Analysis]
    sets: SetsAnalysis | None
    notes: tuple[str, ...]

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict: which method is better, by how much, and how certain that is."""
        if self.sets is not None:
            return judge_sets(self.sets)
        (analysis,) = self.analyses.values()
        return analysis.verdict

    @property
    def alerts(self) -> tuple[str, ...]:
        """The alerts about the runs; empty for several data sets."""
        found = [] if self.sets else [a for each in self.analyses.values() for a in each.alerts]
        return tuple(
            str(alert) for alert in found if alert.kind != "one seed"
        )  # the verdict already says this

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the verdict, the alerts, and how the table was read, as sentences."""
        verdict = self.verdict
        step = [f"Next: {verdict.step.text}"] if verdict.step.text else []
        return (verdict.headline, *verdict.details, *step, *self.alerts, *self.notes)

    def show(self) -> None:
        """Print the verdict, the tables, and how the runs were read."""
        from dropkit.study.report.judged.terminal import show_runs, show_sets

        if self.sets is not None:
            show_sets(self.sets, self.notes)
            return
        (analysis,) = self.analyses.values()
        show_runs(analysis, self.alerts, self.notes)

    def table(self) -> pd.DataFrame:
        """Return a DataFrame with one row per method and data set; see `Results.table`."""
        import pandas as pd

        from dropkit.study.analysis.table import tabulate

        tables = {name: tabulate(analysis) for name, analysis in self.analyses.items()}
        if self.sets is None:
            (table,) = tables.values()
            return table
        return pd.concat(tables, names=["dataset"])

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict and the numbers as plain values."""
        from dropkit.study.judging.files import to_plain

        return to_plain(self)

    def save(self, folder: str | Path) -> None:
        """Write ``report.html`` and ``judgment.json`` into a folder, each atomically."""
        from dropkit.study.judging.files import write_files

        write_files(self, Path(folder))

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self)).replace(chr(10), '<br>')}</p>{self.table().to_html()}"


def judge_table(
    table: Table,
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
    task: str | None = None,
) -> Judgment:
    """Judge the runs of a table; see `dropkit.judge`."""
    given = {"method": method_column, "seed": seed_column}
    given |= {"dataset": dataset_column, "score": score_column}
    table, columns = find_columns(table, given)
    notes: tuple[str, ...] = ()
    errors: dict[Key, Any] = {}
    if columns.score is None:
        predictions = read_predictions(table, columns, task)
        task, errors = predictions.task, predictions.errors
        keys = list(errors)
        scores: dict[Key, float] = {}
    else:
        unfinished = find_unfinished(table)
        scores, notes = read_scores(table, columns, unfinished, drop_missing=drop_missing)
        keys, task = list(scores), None
    methods = list(dict.fromkeys(method for _, method, _ in keys))
    check_methods(methods)
    methods = _put_baseline_first(methods, baseline)
    keys, dropped = _check_sets(keys, methods, drop_missing=drop_missing)
    about: dict[str, Any] = {"study": _describe_study(columns, methods[0])}
    if worthwhile is not None:
        about["study"]["worthwhile"] = worthwhile
    about["overlap"] = measure_overlap(table, columns)
    measure = None
    if columns.score is not None:
        higher = _find_direction(columns.score, higher_is_better)
        measure = choose_measure(columns.score, list(scores.values()), higher)
    records: dict[str, Record] = {}
    for name in dict.fromkeys(dataset for dataset, _, _ in keys):
        mine = [key for key in keys if key[0] == name]
        together = _are_paired(mine, methods, paired, columns, name)
        if measure is None:
            rows = {key[1:]: errors[key] for key in mine}
            assert task is not None, "predictions have a task"
            records[name] = record_predictions(
                name or "runs", rows, task, methods=methods, paired=together, **about
            )
        else:
            values = {key[1:]: scores[key] for key in mine}
            records[name] = record_scores(
                name or "runs", values, measure, methods=methods, paired=together, **about
            )
    analyses = {name or "runs": analyze(record) for name, record in records.items()}
    read = _describe_reading(columns, list(records.values()), len(keys), paired)
    return Judgment(
        columns=columns,
        analyses=analyses,
        sets=analyze_sets(analyses) if len(analyses) > 1 else None,
        notes=(*read, *notes, *dropped),
    )


def _put_baseline_first(methods: list[str], asked: str | None) -> list[str]:
    if asked is not None and asked not in methods:
        raise StudyError(f"no method {asked!r} to be the baseline: {nearest(asked, methods)}")
    plain = {method.lower().replace("-", " ").replace("_", " "): method for method in methods}
    usual = next((plain[name] for name in _BASELINES if name in plain), methods[0])
    first = asked or usual
    return [first, *(method for method in methods if method != first)]


def _find_direction(column: str, asked: bool | None) -> bool:
    known = metrics.find_direction(column) if asked is None else asked
    if known is None:
        raise StudyError(
            f"the name of the score, {column!r}, does not show whether higher is better: add "
            "--higher-is-better or --lower-is-better"
        )
    return known


def _check_sets(
    keys: Sequence[Key], methods: Sequence[str], *, drop_missing: bool
) -> tuple[list[Key], tuple[str, ...]]:
    """Raise `StudyError` for data sets that lack a method, or drop them."""
    there: dict[str, set[str]] = {}
    for dataset, method, _ in keys:
        there.setdefault(dataset, set()).add(method)
    lacking = {name: sorted(set(methods) - found) for name, found in there.items()}
    lacking = {name: missing for name, missing in lacking.items() if missing}
    if not lacking:
        return list(keys), ()
    name, missing = next(iter(lacking.items()))
    if not drop_missing or len(lacking) == len(there):
        raise StudyError(
            f"{missing[0]} has no run on data set {name!r}, and {len(lacking)} of {len(there)} "
            "data sets lack a method: add these runs, leave the method out, or leave such data "
            "sets out with --drop-missing"
        )
    left = f"Left out these data sets, because they lack a method: {', '.join(lacking)}."
    return [key for key in keys if key[0] not in lacking], (left,)


def _are_paired(
    keys: Sequence[Key], methods: Sequence[str], asked: bool | None, columns: Columns, name: str
) -> bool:
    seeds = {method: [seed for _, m, seed in keys if m == method] for method in methods}
    numbered = columns.seed is not None or columns.fold is not None
    where = f" on {name}" if name else ""
    together = are_paired(seeds, asked, numbered=numbered, where=where)
    if together and not any(set(seeds[methods[0]]) & set(seeds[m]) for m in methods[1:]):
        raise StudyError(
            f"no method shares a seed with the baseline {methods[0]!r}{where}: compare all runs "
            "without pairing (--unpaired)"
        )
    return together


def _describe_study(columns: Columns, baseline: str) -> dict[str, Any]:
    return {"baseline": baseline} | {f"{role} column": c for role, c in columns.taken.items()}


def _describe_reading(
    columns: Columns, records: Sequence[Record], runs: int, asked: bool | None
) -> tuple[str, ...]:
    """Describe the columns used, whether higher is better, and whether runs are paired.

    ``asked`` is whether the user asked for pairing; ``None`` if the user did not say.
    """
    measure = records[0].data.measure
    taken = ", ".join(f"{role} {column!r}" for role, column in columns.taken.items())
    better = "higher" if measure.higher_is_better else "lower"
    sets = f" on {len(records)} data sets" if len(records) > 1 else ""
    lines = [
        f"Read {runs} runs{sets}; columns: {taken}. {better.capitalize()} is better. "
        f"The baseline is the method {records[0].baseline!r}."
    ]
    unpaired = [record.data.name for record in records if not record.paired]
    if asked is False:
        lines.append("Runs are not paired, as you asked: Welch's test is used.")
    elif not unpaired:
        by = "fold" if columns.seed is None else "seed"
        lines.append(f"Runs with the same {by} are compared in pairs.")
        if records[0].overlap:
            lines.append(
                "The folds share training rows; the test accounts for that (Nadeau and Bengio "
                "2003)."
            )
    elif columns.seed is None and columns.fold is None:
        if any(len(record.runs) > len(record.methods) for record in records):
            lines.append(
                "Runs are not paired, because there is no column of seeds (--seed-column): "
                "Welch's test is used."
            )
    else:
        where = "" if len(unpaired) == len(records) else f" on {name_several(unpaired)}"
        lines.append(
            f"Runs{where} are not paired, because the methods have different seeds there: Welch's "
            "test is used."
            if where
            else "Runs are not paired, because the methods have different seeds: Welch's test is "
            "used."
        )
    return tuple(lines)
