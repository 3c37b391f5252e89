"""NumPy archives."""

import numpy as np
import pytest

from dropkit.study.data import DataError, load

X = np.random.default_rng(0).random((6, 3))
Y = np.array([0, 1, 0, 1, 0, 1])

INFINITE = X.copy()
INFINITE[2, 1] = np.inf


@pytest.fixture
def save(tmp_path):
    def to_file(name="rows.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return to_file


def test_archive(save):
    data = load(save(X=X, y=Y))
    np.testing.assert_array_equal(data.X, X)
    assert data.y.tolist() == Y.tolist()
    assert (data.name, data.X_test) == ("rows.npz", None)


def test_names_in_lower_case_with_a_test_set(save):
    data = load(save(x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2]))
    assert data.X_test.shape == (2, 3)


def test_test_archive(save):
    data = load(save(X=X, y=Y), test=save("test.npz", X=X[:2], y=Y[:2]))
    assert data.y_test.tolist() == [0, 1]
    both = save(X=X, y=Y, X_test=X, y_test=Y)
    with pytest.raises(DataError, match="holds a test set already"):
        load(both, test=save("test.npz", X=X, y=Y))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": X}, "has no array 'y'; it holds X"),
        ({"features": X, "labels": Y}, "has no array 'y'; it holds features, labels"),
        ({"y": Y}, "has no array 'X'; it holds y, and must hold X and y, or y and inputs"),
        ({"X": X, "y": Y[:5]}, "5 values for 6 rows"),
        ({"X": X.astype(object), "y": Y}, "'X' of .* not stored as plain numbers"),
        ({"X": X.astype(str), "y": Y}, "X must hold numbers"),
        ({"X": X, "y": np.where(Y == 1, np.nan, 1.0)}, "NaN in 3 of 6 rows, first in row 2"),
        ({"X": INFINITE, "y": Y}, "infinite in row 3"),
        ({"X": X, "y": Y, "X_test": X}, "both X_test and y_test"),
    ],
)
def test_bad_archives(save, arrays, message):
    with pytest.raises(DataError, match=message):
        load(save(**arrays))


def test_no_archive_at_all(tmp_path):
    file = tmp_path / "rows.npz"
    for content in (b"PK\x03\x04 cut short", b"words", b""):
        file.write_bytes(content)
        with pytest.raises(DataError, match="npz archive"):
            load(file)
    np.save(tmp_path / "one.npy", X)
    (tmp_path / "one.npy").rename(file)
    with pytest.raises(DataError, match="is one array"):
        load(file)


def test_what_is_not_used_is_named_and_two_arrays_of_a_name_are_refused(save):
    data = load(save(X=X, y=Y, extra=X, ids=Y))
    assert data.notes[-1] == "left out the arrays extra, ids"
    with pytest.raises(DataError, match="holds X twice, once as x_train"):
        load(save(X=X, x_train=X, y=Y))


def test_validation_rows(save):
    more = {"X_val": X[:2] + 1, "y_val": Y[:2]}
    inside, beside = (
        load(save(X=X, y=Y, **more)),
        load(save(X=X, y=Y), val=save("v.npz", X=X[:2] + 1, y=Y[:2])),
    )
    for data in (inside, beside):
        np.testing.assert_array_equal(data.X[data.val_rows], X[:2] + 1)
        assert data.y[data.val_rows].tolist() == Y[:2].tolist()
        np.testing.assert_array_equal(data.X[:6], X)
    assert inside.fingerprint == beside.fingerprint
    with pytest.raises(DataError, match="holds a validation set already; leave the val file out"):
        load(save(X=X, y=Y, **more), val=save("v.npz", X=X, y=Y))
    with pytest.raises(DataError, match="both X_val and y_val, or neither"):
        load(save(X=X, y=Y, X_val=X))
