"""The target: task, classes, and what is wrong with it."""

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import DataError
from dropkit.study.data._target import encode, encode_like


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["b", "a", "b"], "classification", ("a", "b")),
        ([True, False, True], "classification", ("False", "True")),
        ([1, 0, 1], "classification", ("0", "1")),
        ([1.0, 0.0, 1.0], "classification", ("0", "1")),
        ([10, 9, 100] * 40, "classification", ("9", "10", "100")),
        ([1, 2, 3], "regression", ()),  # three values in three rows
        (list(range(21)) * 100, "regression", ()),
        ([0.5, 1.0, 0.5], "regression", ()),
    ],
)
def test_task_is_inferred(values, task, classes):
    target = encode(values, "t")
    assert (target.task, target.classes) == (task, classes)
    if task == "classification":
        assert target.y.dtype == np.int64
        named = [target.classes[i] for i in target.y]
        assert [
            float(v) if isinstance(values[0], (int, float)) and v[0].isdigit() else v for v in named
        ] == [str(v) if isinstance(v, bool) else v for v in values]
    else:
        assert target.y.dtype == np.float64
        assert target.y.tolist() == values


def test_task_can_be_told():
    assert encode([1, 0, 1], "t", "regression").task == "regression"
    assert encode([1, 2, 3], "t", "classification").classes == ("1", "2", "3")
    with pytest.raises(DataError, match="task must be"):
        encode([1, 0], "t", "clustering")


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (["a", "b"], None),
        ([1, 0, 1], None),
        ([1, 2, 3] * 20, "3 distinct integers: taken as classes"),
        (list(range(30)) * 20, "30 distinct integers: taken as numbers"),
        (list(range(30)), None),
        ([1, 2, 3] * 15, "3 distinct integers: taken as numbers"),
    ],
)
def test_a_doubtful_guess_is_told(values, note):
    notes = encode(values, "t").notes
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([1.0, np.nan, np.nan], None, r"missing or NaN in 2 of 3 rows, first in row 2; remove"),
        (["a", "?", "b"], None, r"missing or NaN in 1 of 3 rows, first in row 2 \('\?'\)"),
        ([1.0, 2.0, np.inf], None, "infinite in 1 of 3 rows, first in row 3"),
        (["a", "a"], None, r"one class \('a'\)"),
        ([3, 3], "regression", "one value"),
        ([5.0, 5.0], None, r"one value \(5\)"),
        (["1,010", *map(str, range(99))], None, "thousands separators: write '1,010' as 1010, or"),
        ([f"{i},5" for i in range(30)], None, "decimal commas: write '0,5' as 0.5, or ask"),
        (["1", "many", "2"], "regression", "got 'many' in row 2"),
        ([*map(str, range(99)), "many"], None, r"first in row 100 \('many'\)"),
        (pd.date_range("2024-01-01", periods=3), None, "is a date"),
    ],
)
def test_bad_targets(values, task, message):
    with pytest.raises(DataError, match=message):
        encode(values, "t", task)


def test_test_labels_use_the_training_indices():
    train = encode(["b", "a", "c"], "t")
    y, notes = encode_like(["c", " a "], train)
    assert y.tolist() == [2, 0]
    assert notes == ()


def test_test_labels_may_end_in_a_full_stop_and_it_is_told():
    y, notes = encode_like([">50K.", "<=50K."], encode(["<=50K", ">50K"], "t"))
    assert y.tolist() == [1, 0]
    assert "'>50K.' is '>50K'" in notes[0]


def test_numbers_name_the_same_class_however_they_are_written():
    assert encode_like(["2", "1"], encode([1.0, 2.0, 1.0], "t"))[0].tolist() == [1, 0]


def test_unseen_class():
    with pytest.raises(DataError, match=r"class 'cats' \(row 2\).*did you mean 'cat'"):
        encode_like(["dog", "cats"], encode(["cat", "dog"], "t"))
