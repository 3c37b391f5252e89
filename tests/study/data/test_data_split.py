"""Splits: locked test rows, classes in equal shares, nothing lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropkit.study.data import DataError, from_arrays, split


def rows(counts, *, fixed_test=False):
    y = np.repeat([f"class {i}" for i in range(len(counts))], counts)
    y = np.random.default_rng(0).permutation(y)
    X = np.zeros((len(y), 1))
    test = {"X_test": X[:3], "y_test": y[:3]} if fixed_test else {}
    return from_arrays(X, y, **test)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(5, 40), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    fixed_test=st.booleans(),
)
def test_parts_are_disjoint_complete_and_hold_every_class(counts, seed, fixed_test):
    data = rows(counts, fixed_test=fixed_test)
    parts = split(data, seed=seed)
    found = [part for part in (parts.train, parts.val, parts.test) if part is not None]
    assert len(found) == 3 - fixed_test
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(len(data.y)))
    for part, share in zip(found, (0.8, 0.2) if fixed_test else (0.6, 0.2, 0.2), strict=True):
        in_part = np.bincount(data.y[part], minlength=len(counts))
        assert (in_part > 0).all()
        assert np.abs(in_part - share * np.array(counts)).max() < 2
        assert (np.diff(part) > 0).all()


def test_test_rows_do_not_depend_on_the_seed_and_the_others_do():
    data = rows([50, 50])
    first, second = split(data, seed=0), split(data, seed=1)
    np.testing.assert_array_equal(first.test, second.test)
    assert not np.array_equal(first.val, second.val)
    np.testing.assert_array_equal(first.val, split(data, seed=0).val)


def test_test_rows_do_not_depend_on_the_validation_share():
    data = rows([50, 50])
    wide = split(data, seed=0, val_fraction=0.4)
    np.testing.assert_array_equal(wide.test, split(data, seed=0).test)
    assert (len(wide.train), len(wide.val), len(wide.test)) == (40, 40, 20)


def test_regression():
    y = np.random.default_rng(0).normal(size=103)
    parts = split(from_arrays(np.zeros((103, 1)), y), seed=3)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (61, 21, 21)


@pytest.mark.parametrize(
    ("counts", "fractions", "fixed_test", "message"),
    [
        ([50, 4], {}, False, r"class 'class 1' .* has 4 of 54 rows; .* at least 5"),
        ([50, 4, 3], {}, False, r"class 'class 2' .* has 3 of 57 rows \(2 classes are scarce"),
        ([50, 9], {"val_fraction": 0.1}, False, "training, validation and test need at least 10"),
        ([50, 4], {}, True, "training and validation need at least 5"),
        ([50, 50], {"val_fraction": 0.5, "test_fraction": 0.5}, False, "sum to less than 1"),
        ([50, 50], {"val_fraction": 0.0}, False, "lie above 0"),
    ],
)
def test_bad_splits(counts, fractions, fixed_test, message):
    with pytest.raises(DataError, match=message):
        split(rows(counts, fixed_test=fixed_test), seed=0, **fractions)


def test_bad_seed_and_too_few_numbers():
    with pytest.raises(DataError, match="seed must be"):
        split(rows([9, 9]), seed=-1)
    with pytest.raises(DataError, match="has 4 rows"):
        split(from_arrays(np.zeros((4, 1)), [0.1, 0.2, 0.3, 0.4]), seed=0)
