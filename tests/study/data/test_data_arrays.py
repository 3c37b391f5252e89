"""Arrays, tensors, DataFrames and torch data sets in memory."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

from dropkit.study.data import DataError, from_arrays, split

ROWS = np.arange(12.0).reshape(4, 3)
LABELS = ["b", "a", "b", "a"]


class Pairs(torch.utils.data.Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(ROWS[0], 1)])


@pytest.mark.parametrize(
    "make",
    [
        np.asarray,
        np.ndarray.tolist,
        torch.from_numpy,
        lambda a: torch.from_numpy(a).to(torch.bfloat16),
        lambda a: torch.from_numpy(a).requires_grad_(),
        lambda a: a.astype(np.int16),
    ],
)
def test_rows_of_any_kind(make):
    data = from_arrays(make(ROWS), LABELS)
    np.testing.assert_array_equal(data.X, ROWS)
    assert data.X.dtype.kind == "f"
    assert data.y.tolist() == [1, 0, 1, 0]
    assert data.target == "y"


def test_torch_data_sets():
    X, y = torch.from_numpy(ROWS).float(), torch.tensor([1, 0, 1, 0])
    by_array = from_arrays(X, y)
    assert from_arrays(TensorDataset(X, y)).fingerprint == by_array.fingerprint
    pairs = Pairs([(x, int(label)) for x, label in zip(X, y, strict=True)])
    both = from_arrays(pairs, X_test=pairs)
    assert from_arrays(pairs).fingerprint == by_array.fingerprint
    assert both.y_test.tolist() == [1, 0, 1, 0]


def test_images_get_channels_first():
    gray = np.zeros((4, 8, 6), np.uint8)
    assert from_arrays(gray, LABELS).X.shape == (4, 1, 8, 6)
    assert from_arrays(gray, LABELS).X.dtype == np.uint8
    colour = np.random.default_rng(0).random((4, 8, 6, 3), np.float32)
    data = from_arrays(colour, LABELS)
    np.testing.assert_array_equal(data.X, np.moveaxis(colour, -1, 1))
    assert "channels first" in data.notes[0]
    assert from_arrays(data.X, LABELS).X.shape == (4, 3, 8, 6)


def test_rows_of_two_dimensions_are_read_as_images_with_a_note():
    data = from_arrays(np.random.default_rng(0).random((4, 7, 5)), LABELS)
    assert data.X.shape == (4, 1, 7, 5)
    assert data.notes == ("rows of shape 7x5 are taken as images of one channel, 1x7x5",)


def test_duplicate_rows_are_noted():
    rows = np.random.default_rng(0).integers(0, 256, (300, 9, 9), np.uint8)
    labels = np.arange(300) % 2
    assert from_arrays(rows, labels).notes == ()
    rows[4] = rows[2]  # 2 of 300 are too few to tell
    assert from_arrays(rows, labels).notes == ()
    rows[5] = rows[2]  # of another class
    assert from_arrays(rows, labels).notes == ()
    rows[6] = rows[8] = rows[2]
    assert from_arrays(rows, labels).notes[0].startswith("4 of 300 rows are in the data more")
    test = from_arrays(rows[:3], labels[:3], X_test=rows[1:5], y_test=labels[1:5])
    assert (test.notes, test.doubts) == (
        (),
        (
            "3 of 4 test rows are also in the training data, which makes the scores too good: "
            "remove them to compare methods",
        ),
    )


def test_few_possible_rows_are_no_copies():
    rows = np.random.default_rng(0).integers(0, 2, (300, 3)).astype(float)
    data = from_arrays(rows, rows[:, 0].astype(int))
    assert data.doubts == ()
    assert data.notes[0].startswith("300 of 300 rows are in the data more than once")
    twice = np.concatenate([np.random.default_rng(0).normal(size=(100, 3))] * 2)
    data = from_arrays(twice, (twice[:, 0] > 0).astype(int))
    assert data.doubts[0].startswith("200 of 200 rows are in the data more than once")


def test_large_numbers_keep_their_digits():
    X = np.array([[1_700_000_001], [1_700_000_002]] * 2)
    assert np.ptp(from_arrays(X, LABELS).X) == 1.0


def test_data_frame():
    frame = pd.DataFrame({"n": [1.0, 2.0, 2.0, 5.0], 7: ["u", "v", "u", "v"], "t": LABELS})
    named = from_arrays(frame, "t", X_test=frame)
    assert list(named.X) == ["n", "7"]
    assert named.target == "t"
    assert named.y_test.tolist() == [1, 0, 1, 0]
    given = from_arrays(frame.drop(columns="t"), frame["t"][::-1], X_test=frame, y_test=LABELS)
    assert given.y.tolist() == [0, 1, 0, 1]
    assert given.y_test.tolist() == [1, 0, 1, 0]


def test_fixed_test_set():
    data = from_arrays(ROWS, LABELS, X_test=ROWS[:2], y_test=["a", "b"])
    assert data.X_test.shape == (2, 3)
    assert data.y_test.tolist() == [0, 1]


NAN_IMAGE = np.where(np.arange(4)[:, None, None] == 2, np.nan, np.zeros((4, 2, 2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS,), "y is missing"),
        ((ROWS, LABELS[:3]), "y has 3 values for 4 rows"),
        ((ROWS, np.eye(4)), r"exactly one 1 in every row.*y.argmax\(1\).*--task multi-label"),
        ((ROWS, np.ones((4, 2))), "target 'y1' is '1' in every row"),
        ((ROWS, np.zeros((4, 2, 2))), r"y has shape \(4, 2, 2\); it must hold one class"),
        ((ROWS[:, 0], LABELS), r"X has shape \(4,\)"),
        ((ROWS[:0], []), "not empty"),
        (([[1.0], [[1.0]]], ["a", "b"]), "rows of X differ in length"),
        (([["u"], ["v"]], ["a", "b"]), "X must hold numbers.*DataFrame"),
        ((np.where(ROWS == 7, np.inf, ROWS), LABELS), "X is infinite in row 3"),
        ((NAN_IMAGE, LABELS), "X is NaN or infinite in row 3"),
        ((Pairs([(ROWS, 1), (ROWS[:, :2], 1)]),), r"row 2 of X has shape \(4, 2\)"),
        ((Pairs([({"a": ROWS[0]}, 1), ({"b": ROWS[0]}, 1)]),), r"X\[1\] holds other inputs"),
        ((Pairs([ROWS[0]]),), r"X\[0\] must be a pair"),
        ((Pairs([(ROWS[0], ROWS[0]), (ROWS[1], 1)]),), r"target of X\[1\] has shape \(\)"),
        ((Pairs([]),), "X is empty"),
        ((Pairs([]), LABELS), "leave y out"),
        ((Stream(),), "map-style"),
        ((pd.DataFrame(),), "X is empty"),
        ((pd.DataFrame(ROWS),), "y is missing"),
        ((pd.DataFrame(ROWS), LABELS[:3]), "y has 3 values for 4 rows"),
        ((pd.DataFrame({"abc": [1]}), "abd"), "did you mean 'abc'"),
    ],
)
def test_bad_arrays(arguments, message):
    with pytest.raises(DataError, match=message):
        from_arrays(*arguments)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"y_test": LABELS}, "y_test needs X_test"),
        ({"X_test": ROWS}, "y_test is missing"),
        ({"X_test": ROWS[:, :2], "y_test": LABELS}, "must be equal"),
        ({"X_test": ROWS[:2], "y_test": ["a", "c"]}, "class 'c'"),
    ],
)
def test_bad_test_sets(test, message):
    with pytest.raises(DataError, match=message):
        from_arrays(ROWS, LABELS, **test)


def test_data_frames_come_together():
    frame = pd.DataFrame(ROWS)
    with pytest.raises(DataError, match="X_test must be one"):
        from_arrays(frame, LABELS, X_test=ROWS, y_test=LABELS)
    with pytest.raises(DataError, match="leave it out"):
        from_arrays(frame.rename(columns={0: "a"}), "a", X_test=frame, y_test=LABELS)


VALIDATION = np.random.default_rng(1).random((3, 2))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, pd.DataFrame, "dataset"])
def test_validation_rows_are_those_given(kind):
    rng = np.random.default_rng(0)
    rows, labels = rng.random((40, 2)), np.arange(40) % 2
    if kind == "dataset":
        given = TensorDataset(torch.tensor(rows), torch.tensor(labels)), None
        more = TensorDataset(torch.tensor(VALIDATION), torch.tensor([1, 0, 1])), None
    else:
        given, more = (kind(rows), labels), (kind(VALIDATION), [1, 0, 1])
    data = from_arrays(*given, X_val=more[0], y_val=more[1])
    parts = [split(data, seed=seed) for seed in (0, 1)]
    for part in parts:
        np.testing.assert_array_equal(part.val, [40, 41, 42])
        assert len(part.train) == 32
        assert len(part.test) == 8
    np.testing.assert_allclose(np.asarray(data.X)[parts[0].val], VALIDATION)
    assert data.y[40:].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"X_val": VALIDATION[:, :1], "y_val": [0, 1, 0]}, "row of X_val has shape"),
        ({"X_val": VALIDATION, "y_val": [0, 1]}, "y_val has 2 values for 3 rows"),
        ({"y_val": [0, 1]}, "y_val needs X_val"),
        ({"X_val": VALIDATION}, "y_val is missing"),
        ({"X_val": VALIDATION, "y_val": ["a", "c", "b"]}, "class 'c' of target 'y' has 0 of 40"),
    ],
)
def test_bad_validation_rows(parts, message):
    rows, labels = np.random.default_rng(0).random((40, 2)), np.array(["a", "b"] * 20)
    with pytest.raises(DataError, match=message):
        split(from_arrays(rows, labels, **parts), seed=0)
    if "X_val" in parts and "shape" not in message:
        frames = parts | {"X_val": pd.DataFrame(parts["X_val"])}
        with pytest.raises(DataError, match=message):
            split(from_arrays(pd.DataFrame(rows), labels, **frames), seed=0)
