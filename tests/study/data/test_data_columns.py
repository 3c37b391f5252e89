"""Columns: numbers, categories, and those that cannot help."""

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import DataError
from dropkit.study.data._columns import features, features_like

KEEP = [3.0, 1.0, 2.0] * 10


def one(values, **more):
    """The column that becomes of ``values`` (``None`` if it is dropped), and the notes."""
    frame, notes = features(pd.DataFrame({"keep": KEEP, "x": values, **more}))
    return frame.get("x"), notes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 2] * 10, [1.0, 2.0, 2.0] * 10),
        ([" 1", "2.5 ", "?"] * 10, [1.0, 2.5, np.nan] * 10),
        ([True, False, True] * 10, [1.0, 0.0, 1.0] * 10),
        (["true", "False", None] * 10, [1.0, 0.0, np.nan] * 10),
    ],
)
def test_numbers(values, expected):
    column, notes = one(values)
    assert column.dtype == np.float64
    np.testing.assert_array_equal(column, expected)
    assert notes == ()


def test_text_is_stripped_and_missing_becomes_nan():
    column, _ = one([" a", "b ", "N/A"] * 10)
    assert column.dtype == object
    assert column[:2].tolist() == ["a", "b"]
    assert column.isna()[:3].tolist() == [False, False, True]


def test_what_comes_as_categories_stays_so():
    column, _ = one(pd.Categorical(["1", "2", "none"] * 10))
    assert column[:3].tolist() == ["1", "2", "none"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([5] * 30, "constant"),
        (["a"] * 30, "constant"),
        ([None] * 30, "without any value"),
        (range(7, 37), "count the rows"),
        ([f"id-{i}" for i in range(30)], "differs in every row"),
        ([f"2024-01-{i + 1:02d}" for i in range(30)], "dates"),
        (["1/2/2024", "3/4/2024", None] * 10, "dates"),
        (pd.date_range("2024-01-01", periods=30), "dates"),
    ],
)
def test_useless_columns_are_dropped_with_a_note(values, reason):
    column, notes = one(values)
    assert column is None
    assert len(notes) == 1
    assert reason in notes[0]
    assert notes[0].endswith(": x")


def test_one_value_with_gaps_is_kept_for_its_gaps():
    column, _ = one([5.0, np.nan, 5.0] * 10)
    assert column is not None


def test_a_few_words_among_numbers_are_missing_and_told():
    column, notes = one([*map(str, range(100, 158, 2)), "unknown"])
    assert column.dtype == np.float64
    assert column.isna().tolist() == [False] * 29 + [True]
    assert "row 30 ('unknown')" in notes[0]


def test_many_words_among_numbers_make_categories():
    column, notes = one(["1", "2", "x"] * 10)
    assert column.dtype == object
    assert notes == ()


NUMBERS = [str(i % 70) for i in range(180)]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (
            NUMBERS + ["-"] * 19 + ["x"],
            "column 'x' holds numbers in 90 % of its cells, taken as categories because of '-' "
            "and others in 10 %; empty those cells to have numbers",
        ),
        (
            [f"{v},25" for v in NUMBERS] + ["-"] * 20,
            "looks like numbers with decimal commas: write '0,25' as 0.25 (taken as text)",
        ),
        ([f"1,{i:03d}" for i in range(200)], "thousands separators: write '1,000' as 1000"),
        (
            [f"name {i % 70}" for i in range(200)],
            "column 'x' holds values too rare for a column of their own in 100 % of its cells",
        ),
        ([f"name {i % 30}" for i in range(200)], None),
        (pd.Categorical(NUMBERS + ["-"] * 20), None),
    ],
)
def test_text_that_is_lost_or_may_be_meant_as_numbers_is_told(values, note):
    notes = features(pd.DataFrame({"keep": [3.0, 1.0] * 100, "x": values}))[1]
    told = [text for text in notes if not text.startswith("dropped")]
    assert len(told) == (note is not None)
    assert note is None or note in told[0]


def test_infinite_feature():
    with pytest.raises(DataError, match="column 'x' is infinite in row 3"):
        one([1.0, 2.0, -np.inf] * 10)


def test_no_feature_left():
    with pytest.raises(DataError, match=r"no feature is left.*constant columns: a"):
        features(pd.DataFrame({"a": [1, 1, 1]}))


def test_test_columns_take_the_training_kinds():
    train, _ = features(pd.DataFrame({"n": KEEP, "c": ["1", "2", "x"] * 10}))
    test, notes = features_like(
        pd.DataFrame({"c": [1, 2] * 10, "extra": 0, "n": ["3", "no"] + ["4"] * 18}), train
    )
    assert list(test) == ["n", "c"]
    assert test["c"].tolist()[:2] == ["1", "2"]
    np.testing.assert_array_equal(test["n"], [3.0, np.nan] + [4.0] * 18)
    assert "row 2 ('no')" in notes[0]
    with pytest.raises(DataError, match=r"'n' must hold numbers.* 2 of 20 rows, .*row 2 \('no'\)"):
        features_like(pd.DataFrame({"c": [1] * 20, "n": ["3", "no"] + ["no"] + ["4"] * 17}), train)
    with pytest.raises(DataError, match="no column 'n': did you mean 'nn'"):
        features_like(pd.DataFrame({"nn": [1], "c": ["x"]}), train)
