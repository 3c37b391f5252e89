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


def test_the_task_can_be_set():
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
def test_an_uncertain_task_is_noted(values, note):
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
        (["1", "many", "2"], "regression", "got 'many' in row 2"),
        ([*map(str, range(99)), "many"], None, "except in 1 rows: 'many' in row 100"),
        ([f"2024-01-{i:02}" for i in range(1, 31)], None, "is a date"),
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


def test_test_labels_may_end_in_a_full_stop_with_a_note():
    y, notes = encode_like([">50K.", "<=50K."], encode(["<=50K", ">50K"], "t"))
    assert y.tolist() == [1, 0]
    assert "'>50K.' is '>50K'" in notes[0]


def test_numbers_name_the_same_class_however_they_are_written():
    assert encode_like(["2", "1"], encode([1.0, 2.0, 1.0], "t"))[0].tolist() == [1, 0]


def test_unseen_class():
    with pytest.raises(DataError, match=r"class 'cats' \(row 2\).*did you mean 'cat'"):
        encode_like(["dog", "cats"], encode(["cat", "dog"], "t"))


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["$1,200.50", "$3.00", "$17.25"], [1200.5, 3.0, 17.25]),
        (["1.200,50 €", "3,00 €", "17,25 €"], [1200.5, 3.0, 17.25]),
        (["(1,200.50)", "3.00", "17.25"], [-1200.5, 3.0, 17.25]),
        (["12.5%", "3%", "17.25%"], [12.5, 3.0, 17.25]),
        (["1,010", "3", "17"], [1010.0, 3.0, 17.0]),
    ],
)
def test_numbers_in_any_notation_are_a_regression(words, numbers):
    train = encode(words * 10, "t")
    assert train.task == "regression"
    assert train.y.tolist() == numbers * 10
    assert (
        train.notes[-1:] == () or repr(words[0]) in train.notes[-1] or "integers" in train.notes[-1]
    )
    assert encode_like(words[:2], train)[0].tolist() == numbers[:2]
    with pytest.raises(DataError, match="got 'x' in row 2"):
        encode_like([words[0], "x"], train)


@pytest.mark.parametrize(
    ("values", "kind", "hint", "expected"),
    [
        (["02134", "10001"] * 3, None, "", ("02134", "10001")),
        (["1", "2", "3"], "category", "", ("1", "2", "3")),
        (["1.234", "2.500", "3.125"], None, "", ()),
        (["1.234", "2.500", "3.125"], None, ",", [1234.0, 2500.0, 3125.0]),
        (["1,234", "2,500", "3,125"], "decimal-comma", "", [1.234, 2.5, 3.125]),
        (["None", "Attached"] * 9, None, "", ("Attached", "None")),
        (["NA", "EU"] * 9, None, "", ("EU", "NA")),
        (["10%", "20%", "30%"] * 40, None, "", ("10%", "20%", "30%")),
        (["1st", "2nd", "3rd"] * 40, None, "", ("1st", "2nd", "3rd")),
    ],
)
def test_codes_and_words_are_read_by_kind_and_hint(values, kind, hint, expected):
    target = encode(values, "t", kind=kind, hint=hint)
    if isinstance(expected, tuple):
        assert target.classes == expected
    else:
        assert target.y.tolist() == expected


def test_classes_that_may_be_mistakes_are_noted():
    assert "class 'None' of the target may mean missing" in encode(["None", "x"] * 9, "t").notes[0]
    assert encode(pd.Categorical(["None", "x"] * 9), "t").notes == ()
    assert "'Yes' and 'yes' of the target differ by" in encode(["Yes", "no", "yes"], "t").notes[0]
    with pytest.raises(DataError, match=r"cannot be read as 'date': choose from number"):
        encode(["a", "b"], "t", kind="date")
