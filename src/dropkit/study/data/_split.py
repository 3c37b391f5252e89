"""Split rows into training, validation and test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._folds import check_folds, take_fold
from dropkit.study.data._strata import count_held, draw_labels, find_strata
from dropkit.study.tasks import TASKS

# The seed of the test rows, which are the same for every seed, method and machine.
TEST_SEED = 2014

# Try this many orders of the groups, and take the part that is most similar to all rows.
_ORDERS = 20


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, ascending; ``test`` is ``None`` if the test set is fixed."""

    train: Array
    val: Array
    test: Array | None


def split(
    data: Data,
    *,
    seed: int,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    by: str = "random",
    folds: int | None = None,
) -> Split:
    """Split the rows into training, validation and test rows.

    Without folds, every seed has the same test rows, so that no study trains on test rows, whatever
    its number of seeds. The seed draws the validation rows from the other rows. With folds, each
    fold is the test part once. Then the rows are divided into new folds, which is the next
    repetition.

    Args:
        data: the data. If the data already have validation or test rows, these rows are used.
        seed: from 0 to 2**32 - 1.
        val_fraction: share of all rows for validation, in (0, 1).
        test_fraction: share of all rows for the test, in (0, 1).
        by: ``"random"``: stratified: every part has the same proportions of classes, of labels, or
            of quantiles of a numeric target. For several numeric targets, these are the quantiles
            of their first principal component. ``"time"``: the last rows are the test rows, and the
            rows before them the validation rows, for every seed. ``"group"``: all rows of a group
            are in one part.
        folds: number of folds, of equal size and stratified; by default there are no folds but one
            test part. With seed r·folds + f, fold f of repetition r is the test part. Not for
            ``"time"``.

    Raises:
        DataError: the fractions leave no training rows, there are too few rows, or a class has too
            few rows to be in every part.

    Example:
        >>> from dropkit.study.data import load
        >>> parts = split(load("digits"), seed=0)
        >>> len(parts.train), len(parts.val), len(parts.test)
        (1079, 359, 359)
    """
    if folds is not None:
        check_folds(data, folds, by)
        test_fraction = 1 / folds
    drawn = 0.0 if data.X_test is not None else test_fraction
    taken = 0.0 if data.val_rows is not None else val_fraction
    shares = [1.0 - taken - drawn]
    shares += [taken] if data.val_rows is None else []
    shares += [drawn] if data.X_test is None else []
    if min(shares) <= 1e-9:
        raise DataError(
            f"val_fraction and test_fraction must lie above 0 and sum to less than 1, got "
            f"{val_fraction} and {test_fraction}"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed}")
    if by != "random" and data.key is None:
        raise DataError(f"{data.name} has no column to split by {by}; name it with --{by}")
    rows = np.arange(len(data.y))
    if data.val_rows is not None:
        rows = np.setdiff1d(rows, data.val_rows)
    _check_counts(data, rows, shares, by)
    draw = {"random": _draw, "time": _take_last, "group": _draw_groups}[by]
    total, test, val = len(rows), None, data.val_rows
    if folds is not None:
        rows, test = take_fold(rows, data, folds, seed, by)
    elif data.X_test is None:
        rows, test = draw(rows, data, count_share(total, drawn), TEST_SEED)
    if val is None:
        rows, val = draw(rows, data, count_share(total, taken), seed)
    parts = Split(rows, val, test)
    _check_parts(data, parts, by)
    return parts


def count_share(rows: int, share: float) -> int:
    """Return the number of rows of a share, at least one."""
    return max(1, math.floor(share * rows + 0.5))


def _draw(rows: Array, data: Data, count: int, seed: int) -> tuple[Array, Array]:
    """Draw random rows, with the same share of every stratum."""
    if TASKS[data.task].predicts == "labels":
        is_drawn = draw_labels(data.y[rows], count, seed)
        return rows[~is_drawn], rows[is_drawn]
    strata = find_strata(data.y[rows], data.task, min(count, len(rows) - count))
    rest, drawn = train_test_split(rows, test_size=count, stratify=strata, random_state=seed)
    return np.sort(rest), np.sort(drawn)


def _take_last(rows: Array, data: Data, count: int, seed: int) -> tuple[Array, Array]:
    """Take the latest rows; rows of equal time stay together, in the later part."""
    assert data.key is not None
    order = rows[np.argsort(data.key[rows], kind="stable")]
    first = data.key[order[-count]]
    is_late = data.key[rows] >= first
    if is_late.all():
        raise DataError(
            f"a split by time leaves no rows to train on, as too many share a value of "
            f"{data.key_name!r}; name another column or give other fractions"
        )
    return rows[~is_late], rows[is_late]


def _draw_groups(rows: Array, data: Data, count: int, seed: int) -> tuple[Array, Array]:
    """Draw whole groups: try several orders, and take the part that is most like all rows."""
    assert data.key is not None
    groups, sizes = np.unique(data.key[rows], return_counts=True)
    held_by = count_held(data.y[rows], data.task, count)
    wanted = held_by(np.ones(len(rows), bool)) * (count / len(rows))
    rng = np.random.default_rng(seed)
    best, least = rows[:0], math.inf
    for _ in range(_ORDERS):
        chosen, have = [], 0
        for i in rng.permutation(len(groups)):
            # Add a group if it brings the part closer to its size.
            if abs(have + sizes[i] - count) < abs(have - count):
                chosen.append(groups[i])
                have += sizes[i]
        is_drawn = np.isin(data.key[rows], chosen)
        distance = float(np.abs(held_by(is_drawn) - wanted).sum())
        if distance < least and 0 < is_drawn.sum() < len(rows):
            best, least = is_drawn, distance
    if least == math.inf:
        raise DataError(
            f"{data.name} has {len(groups)} groups in {data.key_name!r}, too few to divide; name "
            "another column with --group"
        )
    return rows[~best], rows[best]


def _check_counts(data: Data, rows: Array, shares: list[float], by: str) -> None:
    """Raise `DataError` if a part would have no rows, or no rows of a class."""
    needed, parts = math.ceil(1.0 / min(shares) - 1e-9), len(shares)
    where = "training, validation and test" if parts == 3 else "training and validation"
    if data.val_rows is not None:
        where = "training and test" if parts == 2 else "training"
    if len(rows) < needed:
        raise DataError(f"{data.name} has {len(rows)} rows; {where} need at least {needed}")
    if by != "random":
        return
    scarce = [(n, name) for n, name in _count_values(data, rows) if n < needed]
    if scarce:
        count, name = min(scarce)
        kind, remedy = "labels", "or leave the label out"
        if TASKS[data.task].predicts == "class":
            kind, name = "classes", f"{name} of target {data.target!r}"
            remedy = "merge the class with another, remove it, or choose another target"
        others = f" ({len(scarce)} {kind} are scarce)" if len(scarce) > 1 else ""
        raise DataError(
            f"{name} has {count} of {len(rows)} rows{others}; {where} need at least {needed} of "
            f"each: add rows, {remedy}"
        )


def _check_parts(data: Data, parts: Split, by: str) -> None:
    """Raise `DataError` if a class or a label has no training rows."""
    missing = [name for count, name in _count_values(data, parts.train) if not count]
    if missing:
        how, other = ("", "") if by == "random" else (f" by {by}", ", or split at random")
        raise DataError(
            f"a split{how} leaves no row of {missing[0]} to train on; give other fractions, or "
            f"remove it{other}"
        )


def _count_values(data: Data, rows: Array) -> list[tuple[int, str]]:
    """Return a count and a name for each class, or for the presence and absence of each label."""
    predicts, y = TASKS[data.task].predicts, data.y[rows]
    if predicts == "class":
        counts = np.bincount(y, minlength=len(data.classes)).tolist()
        names = [f"class {label!r}" for label in data.classes]
        return list(zip(counts, names, strict=True))
    if predicts == "labels":
        held = y.sum(0).tolist()
        return [
            pair
            for n, label in zip(held, data.targets, strict=True)
            for pair in ((n, f"label {label!r}"), (len(y) - n, f"the absence of label {label!r}"))
        ]
    return []
