"""Splits: locked test rows, classes in equal shares, nothing lost."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropkit.study.data import DataError, from_arrays, load, split


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


@pytest.mark.parametrize("count", [8, 20, 103, 1000])
def test_quantiles_of_a_numeric_target_keep_their_shares(count):
    y = np.random.default_rng(1).lognormal(0, 3, size=count)
    parts = split(from_arrays(np.zeros((count, 1)), y), seed=3)
    rank = np.argsort(np.argsort(y)) / count
    for part in (parts.train, parts.val, parts.test):
        assert abs(rank[part].mean() - 0.5) < 1.1 / min(10, len(part))


def table(**columns):
    count = len(next(iter(columns.values())))
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {**columns, "x": rng.random(count), "y": rng.permutation(["a", "b"] * (count // 2))}
    )


def test_by_time_the_test_rows_are_the_last_and_validation_the_last_before_them():
    order = np.random.default_rng(0).permutation(100)
    days = pd.date_range("2024-01-01", periods=100)[order].strftime("%d.%m.%Y")
    data = from_arrays(table(day=days), "y", time="day")
    first, second = split(data, seed=0, by="time"), split(data, seed=1, by="time")
    np.testing.assert_array_equal(first.val, second.val)
    assert sorted(order[first.test]) == list(range(80, 100))
    assert sorted(order[first.val]) == list(range(60, 80))
    assert "day days" in data.X
    assert from_arrays(table(day=days), "y", time="").key_name == "day"


def test_rows_of_one_time_stay_together():
    data = from_arrays(table(year=np.repeat(range(2000, 2010), 10)), "y", time="year")
    parts = split(data, seed=0, by="time", test_fraction=0.15)
    assert data.key[parts.test].min() == 2008
    assert data.key[parts.val].min() == 2006
    same = from_arrays(table(year=[1] * 50 + [2] * 50), "y", time="year")
    with pytest.raises(DataError, match="leaves no rows to train on, as too many share"):
        split(same, seed=0, by="time")


def test_groups_are_in_one_part():
    rng = np.random.default_rng(0)
    owners = [f"p{i}" for i in rng.integers(0, 40, 400)]
    data = from_arrays(table(owner=owners), "y", group="owner")
    assert list(data.X) == ["x"]
    first, second = split(data, seed=0, by="group"), split(data, seed=1, by="group")
    np.testing.assert_array_equal(first.test, second.test)
    assert not np.array_equal(first.val, second.val)
    held = [set(data.key[part]) for part in (first.train, first.val, first.test)]
    assert sum(map(len, held)) == len(set.union(*held)) == 40
    assert [len(part) for part in (first.val, first.test)] == pytest.approx([80, 80], abs=8)
    assert data.y[first.test].mean() == pytest.approx(data.y.mean(), abs=0.1)


def test_a_fixed_validation_set(tmp_path):
    train = table(t=range(40), u=[1.0, 2.5] * 20)
    more = table(u=[2.5] * 6, t=range(6))
    train.to_csv(tmp_path / "train.csv", index=False)
    more.to_csv(tmp_path / "val.csv", index=False)
    data = load(tmp_path / "train.csv", val=tmp_path / "val.csv")
    for seed in (0, 1):
        parts = split(data, seed=seed)
        np.testing.assert_array_equal(parts.val, range(40, 46))
        assert (len(parts.train), len(parts.test)) == (32, 8)
    both = load(tmp_path / "train.csv", val=tmp_path / "val.csv", test=tmp_path / "val.csv")
    parts = split(both, seed=0)
    assert (len(parts.train), len(parts.val), parts.test) == (40, 6, None)
    (tmp_path / "val.csv").write_text("t,y\n1,a\n2,b\n")
    with pytest.raises(DataError, match=r"val.csv has no column 'u'"):
        load(tmp_path / "train.csv", val=tmp_path / "val.csv")


@pytest.mark.parametrize(
    ("columns", "key", "message"),
    [
        (
            {"g": ["a", ""] * 20},
            {"group": "g"},
            "must hold a group in every row, but 20 rows .* row 2",
        ),
        (
            {"t": ["2024-01-01", "soon"] * 20},
            {"time": "t"},
            "a time in every row, got 'soon' in row 2",
        ),
        ({"t": [1.0, np.nan] * 20}, {"time": "t"}, "hold a time in every row, but 20 rows"),
        ({"t": range(40)}, {"time": "tt"}, "no column 'tt' to split by time: did you mean 't'"),
        ({"t": range(40)}, {"time": ""}, "no column holds dates; say with --time"),
    ],
)
def test_bad_keys(columns, key, message):
    with pytest.raises(DataError, match=message):
        from_arrays(table(**columns), "y", **key)


def test_too_few_groups_and_untrained_classes():
    one = from_arrays(table(g=["a"] * 40), "y", group="g")
    with pytest.raises(DataError, match="has 1 groups in 'g', too few"):
        split(one, seed=0, by="group")
    late = table(t=range(40)).assign(y=["a", "b"] * 15 + ["c"] * 10)
    with pytest.raises(DataError, match="no row of class 'c' to train on"):
        split(from_arrays(late, "y", time="t"), seed=0, by="time")
    with pytest.raises(DataError, match="no column to split by time; name it with --time"):
        split(rows([9, 9]), seed=0, by="time")


def test_columns_that_need_another_split_are_noted():
    days = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    owners = [f"p{i % 20}" for i in range(60)]
    frame = table(day=days, patient_id=owners)
    notes = from_arrays(frame, "y").notes
    assert any("sorted by 'day'" in note and "--split time --time day" in note for note in notes)
    assert any("60 rows share 20 values of 'patient_id'" in note for note in notes)
    assert not any("--split" in note for note in from_arrays(frame, "y", group="patient_id").notes)
    shuffled = frame.sample(frac=1.0, random_state=0).rename(columns={"patient_id": "town"})
    assert not any("--split" in note for note in from_arrays(shuffled, "y").notes)


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
