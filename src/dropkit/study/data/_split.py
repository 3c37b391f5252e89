"""Training, validation and test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data

# The same test rows for every seed, method and machine.
TEST_SEED = 2014

# A numeric target is cut into so many parts of equal size, which are then divided alike.
_QUANTILES = 10

# Of so many orders of the groups the one is taken whose part is most like the whole.
_ORDERS = 20


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, ascending; ``test`` is ``None`` if the data have a test set."""

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
) -> Split:
    """Divide the rows into training, validation and test.

    The test rows are locked: they do not depend on ``seed``, so that no number of seeds lets a
    study see them. The seed draws validation anew from the rest.

    Args:
        data: the data; with a fixed test set, no test rows are drawn, and with fixed validation
            rows none of these.
        seed: from 0 to 2**32 - 1.
        val_fraction: share of all rows for validation, in (0, 1).
        test_fraction: share of all rows for the test, in (0, 1).
        by: ``"random"``, with classes, or quantiles of a numeric target, in equal shares;
            ``"time"``, the test rows the last ones and the validation rows the last before them,
            whatever the seed; or ``"group"``, with all rows of a group in one part.

    Raises:
        DataError: the fractions leave nothing to train on, or there are too few rows, or too few
            of a class to have it in every part.

    Example:
        >>> from dropkit.study.data import load
        >>> parts = split(load("digits"), seed=0)
        >>> len(parts.train), len(parts.val), len(parts.test)
        (1079, 359, 359)
    """
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
    if data.X_test is None:
        rows, test = draw(rows, data, count_share(total, drawn), TEST_SEED)
    if val is None:
        rows, val = draw(rows, data, count_share(total, taken), seed)
    parts = Split(rows, val, test)
    if by != "random":
        _check_parts(data, parts, by)
    return parts


def count_share(rows: int, share: float) -> int:
    """A share of the rows, at least one."""
    return max(1, math.floor(share * rows + 0.5))


def _draw(rows: Array, data: Data, count: int, seed: int) -> tuple[Array, Array]:
    """Draw rows at random, of every stratum the same share."""
    strata = _strata(data.y[rows], data, min(count, len(rows) - count))
    rest, drawn = train_test_split(rows, test_size=count, stratify=strata, random_state=seed)
    return np.sort(rest), np.sort(drawn)


def _take_last(rows: Array, data: Data, count: int, seed: int) -> tuple[Array, Array]:
    """Take the latest rows; those of one time stay together, among the later ones."""
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
    """Draw whole groups, of several orders the one whose part is most like the whole."""
    assert data.key is not None
    groups, sizes = np.unique(data.key[rows], return_counts=True)
    strata = _strata(data.y[rows], data, count)
    if strata is None:
        strata = np.zeros(len(rows), np.int64)
    wanted = np.bincount(strata) * (count / len(rows))
    rng = np.random.default_rng(seed)
    best, least = rows[:0], math.inf
    for _ in range(_ORDERS):
        chosen, have = [], 0
        for i in rng.permutation(len(groups)):
            # A group goes in if that brings the part nearer to its size.
            if abs(have + sizes[i] - count) < abs(have - count):
                chosen.append(groups[i])
                have += sizes[i]
        is_drawn = np.isin(data.key[rows], chosen)
        held = np.bincount(strata[is_drawn], minlength=len(wanted))
        distance = float(np.abs(held - wanted).sum())
        if distance < least and 0 < is_drawn.sum() < len(rows):
            best, least = is_drawn, distance
    if least == math.inf:
        raise DataError(
            f"{data.name} has {len(groups)} groups in {data.key_name!r}, too few to divide; name "
            "another column with --group"
        )
    return rows[~best], rows[best]


def _strata(y: Array, data: Data, fewest: int) -> Array | None:
    """The class of every row, or the quantile of its number; ``None`` for too few rows."""
    if data.task == "classification":
        return y
    parts = min(_QUANTILES, fewest, len(y) // 2)
    if parts < 2:
        return None
    rank = np.empty(len(y), np.int64)
    rank[np.argsort(y, kind="stable")] = np.arange(len(y))
    return rank * parts // len(y)


def _check_counts(data: Data, rows: Array, shares: list[float], by: str) -> None:
    """Refuse data of which a part would get no row, or none of a class."""
    needed, parts = math.ceil(1.0 / min(shares) - 1e-9), len(shares)
    where = "training, validation and test" if parts == 3 else "training and validation"
    if data.val_rows is not None:
        where = "training and test" if parts == 2 else "training"
    if len(rows) < needed:
        raise DataError(f"{data.name} has {len(rows)} rows; {where} need at least {needed}")
    if data.task == "regression" or by != "random":
        return
    counts = np.bincount(data.y[rows], minlength=len(data.classes))
    scarce = [(int(n), label) for n, label in zip(counts, data.classes, strict=True) if n < needed]
    if scarce:
        count, label = min(scarce)
        others = f" ({len(scarce)} classes are scarce)" if len(scarce) > 1 else ""
        raise DataError(
            f"class {label!r} of target {data.target!r} has {count} of {len(rows)} rows"
            f"{others}; {where} need at least {needed} of each: add rows, merge the class with "
            "another, remove it, or choose another target"
        )


def _check_parts(data: Data, parts: Split, by: str) -> None:
    """Refuse a division that leaves a class untrained."""
    if data.task == "classification":
        held = np.bincount(data.y[parts.train], minlength=len(data.classes))
        if not held.all():
            label = data.classes[int(held.argmin())]
            raise DataError(
                f"a split by {by} leaves no row of class {label!r} to train on; give other "
                "fractions, remove the class, or split at random"
            )
