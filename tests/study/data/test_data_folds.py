"""Folds: every row is tested once in a repetition, in equal shares, and no group is divided."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropkit.study.data import Data, DataError, add_leak_doubts, from_arrays, split


def classes(*counts: int) -> Data:
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    labels = np.array([f"class {number}" for number in range(len(counts))])
    return from_arrays(np.zeros((len(y), 1), np.float32), labels[y])


def numbers(rows: int) -> Data:
    y = np.random.default_rng(0).normal(size=rows)
    return from_arrays(np.arange(rows, dtype=np.float32)[:, None], y)


def grouped(groups: np.ndarray, y: np.ndarray) -> Data:
    table = pd.DataFrame({"x": np.sin(np.arange(len(y))), "who": groups})
    return from_arrays(table, y, group="who")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(10, 40), min_size=2, max_size=4),
    folds=st.integers(2, 8),
    repetition=st.integers(0, 50),
)
def test_every_row_is_tested_once_in_a_repetition(
    counts: list[int], folds: int, repetition: int
) -> None:
    data = classes(*counts)
    tested = []
    for fold in range(folds):
        parts = split(data, seed=repetition * folds + fold, folds=folds)
        every = np.concatenate([parts.train, parts.val, parts.test])
        np.testing.assert_array_equal(np.sort(every), np.arange(len(data.y)))
        held = np.bincount(data.y[parts.test], minlength=len(counts))
        assert np.abs(held - np.array(counts) / folds).max() < 1
        assert np.bincount(data.y[parts.train], minlength=len(counts)).all()
        tested.append(parts.test)
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(len(data.y)))


@pytest.mark.parametrize("rows", [20, 103, 500])
def test_folds_of_numbers_are_drawn_without_regard_to_them(rows: int) -> None:
    data = numbers(rows)
    tested = [split(data, seed=seed, folds=5).test for seed in range(100)]
    assert {len(part) for part in tested} <= {rows // 5, rows // 5 + 1}
    for repetition in range(20):
        together = np.concatenate(tested[5 * repetition :][:5])
        np.testing.assert_array_equal(np.sort(together), np.arange(rows))
    # Means of the parts vary as those of random ones do: s²/n, less what is never left out.
    spread = np.var([data.y[part].mean() for part in tested], ddof=1)
    expected = data.y.var() / (rows / 5) * (1 - 1 / 5)
    assert spread == pytest.approx(expected, rel=0.5)


def test_repetitions_divide_the_rows_anew_and_folds_draw_their_own_validation() -> None:
    data = classes(50, 50)
    first, again, other, next_fold = (split(data, seed=s, folds=5) for s in (0, 0, 5, 1))
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.val, again.val)
    assert not np.array_equal(first.test, other.test)
    assert not np.array_equal(first.val, next_fold.val)


@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_a_group_is_in_one_part(task: str) -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 40, 400)
    y = rng.integers(0, 2, 400).astype(str) if task == "classes" else rng.normal(size=400)
    data = grouped(groups, y)
    for repetition in range(3):
        tested = []
        for fold in range(5):
            parts = split(data, seed=repetition * 5 + fold, folds=5, by="group")
            several = [set(groups[part]) for part in (parts.train, parts.val, parts.test)]
            assert sum(map(len, several)) == len(set(groups))
            assert 40 < len(parts.test) < 130
            tested.append(parts.test)
        np.testing.assert_array_equal(np.sort(np.concatenate(tested)), np.arange(400))


def test_rows_of_a_fixed_validation_set_are_never_tested() -> None:
    data = classes(30, 30)
    data = Data(**{**vars(data), "val_rows": np.arange(0, 60, 6)})
    tested = [split(data, seed=fold, folds=5).test for fold in range(5)]
    expected = np.setdiff1d(np.arange(60), data.val_rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(tested)), expected)


def test_what_cannot_be_divided_is_refused() -> None:
    X, y = np.zeros((30, 1), np.float32), np.repeat(["a", "b", "c"], 10)
    fixed = from_arrays(X, y, X_test=X[:3], y_test=y[:3])
    with pytest.raises(DataError, match="has a fixed test set, and folds test every row"):
        split(fixed, seed=0, folds=5)
    with pytest.raises(DataError, match=r"class 'class 0' .* has 4 of 44 rows; .* need at least 6"):
        split(classes(4, 40), seed=0, folds=6)
    with pytest.raises(DataError, match="folds must be at least 2, got 1"):
        split(classes(20, 20), seed=0, folds=1)
    with pytest.raises(DataError, match="val_fraction and test_fraction must lie above 0"):
        split(classes(20, 20), seed=0, folds=2, val_fraction=0.5)
    two = grouped(np.repeat([1, 2], 20), np.tile(["a", "b"], 20))
    with pytest.raises(DataError, match=r"3 folds need as many groups, and .* has 2 in 'who'"):
        split(two, seed=0, folds=3, by="group")
    with pytest.raises(DataError, match="tests the last rows"):
        split(numbers(50), seed=0, folds=5, by="time")


def tell(data: Data, by: str) -> Data:
    parts = [split(data, seed=fold, folds=5, by=by) for fold in range(5)]
    return add_leak_doubts(data, [(each.train, each.test) for each in parts])


def test_copies_are_counted_by_the_fold_that_tests_them() -> None:
    # Every row twice: the same patient, seen again.
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=100), 2), np.repeat(rng.integers(0, 2, 100), 2).astype(str)
    table = pd.DataFrame({"x": x, "who": np.repeat(np.arange(100), 2)})
    data = from_arrays(table, y, group="who")
    assert "200 of 200 rows are in the data more than once" in data.doubts[0]

    at_random = tell(data, "random")
    (doubt,) = at_random.doubts
    leaked = int(doubt.split()[0])
    # A copy is in another fold with 4/5, and there among the training rows with 3/4.
    assert 90 < leaked < 150
    assert "rows are also among the training rows of the folds that test them" in doubt
    assert "more than once" not in " ".join((*at_random.doubts, *at_random.notes))

    in_groups = tell(data, "group")
    assert in_groups.doubts == ()
    assert not any("rows" in note for note in in_groups.notes if "stand" in note)
