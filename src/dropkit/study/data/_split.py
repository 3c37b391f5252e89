"""Training, validation and test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data

# The same test rows for every seed, method and machine.
_TEST_SEED = 2014


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part, ascending; ``test`` is ``None`` if the data have a test set."""

    train: Array
    val: Array
    test: Array | None


def split(data: Data, *, seed: int, val_fraction: float = 0.2, test_fraction: float = 0.2) -> Split:
    """Divide the rows into training, validation and test, classes in equal shares.

    The test rows are locked: they do not depend on ``seed``, so that no number of seeds lets a
    study see them. The seed draws validation anew from the rest.

    Args:
        data: the data; with a fixed test set, no test rows are drawn.
        seed: from 0 to 2**32 - 1.
        val_fraction: share of all rows for validation, in (0, 1).
        test_fraction: share of all rows for the test, in (0, 1).

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
    train_fraction = 1.0 - val_fraction - drawn
    shares = (train_fraction, val_fraction) + ((drawn,) if data.X_test is None else ())
    if min(shares) <= 1e-9:
        raise DataError(
            f"val_fraction and test_fraction must lie above 0 and sum to less than 1, got "
            f"{val_fraction} and {test_fraction}"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed}")
    _check_counts(data, needed=math.ceil(1.0 / min(shares) - 1e-9), parts=len(shares))
    rows = np.arange(len(data.y))
    test = None
    if data.X_test is None:
        rows, test = _draw(rows, data, test_fraction, _TEST_SEED)
    train, val = _draw(rows, data, val_fraction * len(data.y) / len(rows), seed)
    return Split(train, val, test)


def _draw(rows: Array, data: Data, fraction: float, seed: int) -> tuple[Array, Array]:
    strata = data.y[rows] if data.task == "classification" else None
    count = max(1, math.floor(fraction * len(rows) + 0.5))
    rest, drawn = train_test_split(rows, test_size=count, stratify=strata, random_state=seed)
    return np.sort(rest), np.sort(drawn)


def _check_counts(data: Data, needed: int, parts: int) -> None:
    """Refuse data of which a part would get no row, or none of a class."""
    where = "training, validation and test" if parts == 3 else "training and validation"
    if len(data.y) < needed:
        raise DataError(f"{data.name} has {len(data.y)} rows; {where} need at least {needed}")
    if data.task == "regression":
        return
    counts = np.bincount(data.y, minlength=len(data.classes))
    scarce = [(int(n), label) for n, label in zip(counts, data.classes, strict=True) if n < needed]
    if scarce:
        count, label = min(scarce)
        others = f" ({len(scarce)} classes are scarce)" if len(scarce) > 1 else ""
        raise DataError(
            f"class {label!r} of target {data.target!r} has {count} of {len(data.y)} rows"
            f"{others}; {where} need at least {needed} of each: add rows, merge the class with "
            "another, remove it, or choose another target"
        )
