"""Read one score per data set, method and seed; find runs that are missing or given twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dropkit.errors import StudyError
from dropkit.study.judging.columns import Columns
from dropkit.study.judging.table import Table, read_number

Key = tuple[str, str, str]
"""Data set, method and seed of a run; the seed is empty if no column holds seeds."""


LARGEST = 1e100
"""The largest score; larger scores overflow when they are squared."""


def group_runs(table: Table, columns: Columns) -> dict[Key, list[int]]:
    """Group the rows of a table by run, in the order of the file."""
    counted: dict[tuple[str, str], int] = {}
    groups: dict[Key, list[int]] = {}
    for i, method in enumerate(table.columns[columns.method]):
        if not method:
            raise StudyError(f"{table.places[i]} has no method in column {columns.method!r}")
        dataset = table.columns[columns.dataset][i] if columns.dataset else ""
        seed = _name_seed(table, columns, i)
        if not seed and columns.step is None and columns.row is None:
            # Without seeds, every row is a separate run, identified by its number.
            counted[dataset, method] = counted.get((dataset, method), 0) + 1
            seed = f"#{counted[dataset, method]}"
        groups.setdefault((dataset, method, seed), []).append(i)
    return groups


def _name_seed(table: Table, columns: Columns, i: int) -> str:
    named = [table.columns[name][i] for name in (columns.seed, columns.fold) if name]
    if not all(named):
        raise StudyError(
            f"{table.places[i]} has no value in column {columns.seed or columns.fold!r}; every run "
            "needs its seed, or remove the column"
        )
    numbers = map(read_number, named)
    whole = [str(int(n)) if n is not None and n.is_integer() else None for n in numbers]
    return " ".join(number or text for number, text in zip(whole, named, strict=True))


def read_scores(
    table: Table, columns: Columns, unfinished: Sequence[int], *, drop_missing: bool
) -> tuple[dict[Key, float], tuple[str, ...]]:
    """Return the score of every run, and sentences about runs that were left out.

    Raises:
        StudyError: two rows are the same run, or a score is missing or not a number.
    """
    assert columns.score is not None, "predictions have no column of scores"
    cells, without = table.columns[columns.score], set(unfinished)
    scores: dict[Key, float] = {}
    missing: list[Key] = []
    for key, rows in group_runs(table, columns).items():
        i = _find_last(table, columns, key, rows)
        value = read_number(cells[i]) if cells[i] else math.nan
        if value is None:
            raise StudyError(
                f"the score must be a number, got {cells[i]!r} in column {columns.score!r}, "
                f"{table.places[i]}; name another column with --score-column"
            )
        if LARGEST < abs(value) < math.inf:
            raise StudyError(
                f"{_name_run(key)} has the score {cells[i]} ({table.places[i]}), which is too "
                "large to compute with: scores must be below 1e100"
            )
        if math.isfinite(value) and i not in without:
            scores[key] = value
        elif drop_missing:
            missing.append(key)
        else:
            state = "is not finished" if i in without else f"has no score in {columns.score!r}"
            raise StudyError(
                f"{_name_run(key)} {state} ({table.places[i]}): complete it, or leave such runs "
                "out with --drop-missing"
            )
    return scores, _describe_missing(missing)


def check_methods(methods: Sequence[str]) -> None:
    """Raise `StudyError` unless there are two methods to compare."""
    if len(methods) == 1:
        raise StudyError(
            f"there is one method, {methods[0]!r}; a comparison needs two: add the runs of "
            "another, or name another column with --method-column"
        )
    if not methods:
        raise StudyError("no run has a score: there is nothing to compare")


def are_paired(
    seeds: Mapping[str, Sequence[str]], asked: bool | None, *, numbered: bool, where: str = ""
) -> bool:
    """Return whether the runs of one data set are compared seed by seed.

    Args:
        seeds: the seeds of every method.
        asked: whether the user asks for pairing; ``None`` pairs if all methods have the same seeds.
        numbered: whether a column holds the seeds.
        where: the data set in messages.

    Raises:
        StudyError: only some seeds match, and the user has not chosen whether to pair.
    """
    if asked is not None:
        if asked and not numbered:
            raise StudyError("pairing needs a column of seeds or folds: name it with --seed-column")
        return asked
    sets = [set(values) for values in seeds.values()]
    if not numbered:
        return False
    if all(each == sets[0] for each in sets):
        return True
    if not any(a & b for i, a in enumerate(sets) for b in sets[:i]):
        return False
    everywhere = set.union(*sets)
    method, lacking = next(
        (name, sorted(everywhere - set(values))) for name, values in seeds.items()
        if everywhere - set(values)
    )  # fmt: skip
    shown = ", ".join(lacking[:5]) + (", …" if len(lacking) > 5 else "")
    raise StudyError(
        f"the methods have unequal seeds{where}: {method} lacks {shown}; add these runs, compare "
        "the seeds that a method shares with the baseline (--paired), or compare all runs without "
        "pairing (--unpaired)"
    )


def _find_last(table: Table, columns: Columns, key: Key, rows: list[int]) -> int:
    """Return the only row of a run, or the row of its last step that has a score."""
    if len(rows) == 1:
        return rows[0]
    if columns.step is None:
        first, second = (table.places[i] for i in rows[:2])
        raise StudyError(
            f"{first} and {second} are the same run, {_name_run(key)}; remove one, or name the "
            "column that distinguishes them with --seed-column or --dataset-column"
        )
    assert columns.score is not None, "steps are of scores"
    steps, cells = table.columns[columns.step], table.columns[columns.score]
    logged = [i for i in rows if cells[i]] or rows
    return max(logged, key=lambda i: (read_number(steps[i]) or 0.0, i))


def _name_run(key: Key) -> str:
    dataset, method, seed = key
    parts = [dataset, method, f"seed {seed}" if seed and not seed.startswith("#") else ""]
    return ", ".join(filter(None, parts))


def _describe_missing(keys: Sequence[Key]) -> tuple[str, ...]:
    if not keys:
        return ()
    shown = "; ".join(map(_name_run, keys[:5])) + ("; …" if len(keys) > 5 else "")
    count = f"{len(keys)} runs that have no score" if len(keys) > 1 else "1 run that has no score"
    return (
        f"Left out {count}: {shown}. If they went badly, their method looks better than it is.",
    )
