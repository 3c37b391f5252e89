"""Preprocessing is learned from training rows and applied to any."""

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import Preprocessor, from_arrays

CLASSES = np.array([0, 1] * 50)
RNG = np.random.default_rng(0)


def test_numbers_are_standardised_with_training_statistics():
    train, test = RNG.normal(5, 3, (100, 2)), RNG.normal(5, 3, (7, 2))
    fitted = Preprocessor().fit(train, CLASSES)
    expected = (test - train.mean(axis=0)) / train.std(axis=0)
    result = fitted.transform(test)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_missing_numbers_become_the_training_median_and_are_marked():
    train = np.arange(101.0)[:, None] ** 2
    train[100] = np.nan
    fitted = Preprocessor().fit(train, np.zeros(101, np.int64))
    median = (49**2 + 50**2) / 2
    known = np.append(train[:100, 0], median)
    result = fitted.transform(np.array([[np.nan], [3.0]]))
    np.testing.assert_allclose(
        result,
        [[(median - known.mean()) / known.std(), 1], [(3 - known.mean()) / known.std(), 0]],
        rtol=1e-6,
    )


def test_nothing_lies_beyond_ten_standard_deviations():
    train = np.zeros((1000, 1))
    train[0] = 255.0
    fitted = Preprocessor().fit(train, np.zeros(1000, np.int64))
    assert fitted.transform(train).max() == 10.0
    assert fitted.transform(-1e6 * train).min() == -10.0


def test_table_of_numbers_and_categories():
    frame = pd.DataFrame(
        {
            "n": RNG.normal(size=100),
            "c": ["a"] * 60 + ["b"] * 30 + ["rare"] * 4 + [np.nan] * 6,
        }
    )
    fitted = Preprocessor().fit(frame, CLASSES)
    rows = pd.DataFrame({"n": [0.0] * 5, "c": ["a", "b", np.nan, "rare", "never seen"]})
    result = fitted.transform(rows)
    assert result.dtype == np.float32
    # a, b, missing, and one column for rare and unseen ones together
    expected = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(result[:, 1:], expected)


def test_many_categories_are_pooled_and_their_frequency_is_kept():
    words = [f"c{i % 100}" for i in range(1000)] + ["often"] * 500
    frame = pd.DataFrame({"c": words})
    fitted = Preprocessor().fit(frame, np.zeros(1500, np.int64))
    assert fitted.transform(frame).shape == (1500, 51)
    rows = pd.DataFrame({"c": ["often", "c3", "never seen"]})
    often, some, never = fitted.transform(rows)[:, -1]
    counts = np.log1p([500] * 500 + [10] * 1000)
    expected = (np.log1p([500, 10, 0]) - counts.mean()) / counts.std()
    np.testing.assert_allclose([often, some, never], expected, rtol=1e-5)


def test_column_constant_or_missing_in_the_training_rows():
    frame = pd.DataFrame({"n": [2.0] * 100, "m": [np.nan] * 100, "c": [np.nan] * 100})
    frame["c"] = frame["c"].astype(object)
    fitted = Preprocessor().fit(frame, CLASSES)
    rows = pd.DataFrame({"n": [9.0], "m": [3.0], "c": ["x"]})
    assert np.isfinite(fitted.transform(rows)).all()


def test_bytes_are_divided_by_255():
    X = RNG.integers(0, 256, (100, 1, 4, 4), np.uint8)
    result = Preprocessor().fit(X, CLASSES).transform(X)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, X / 255, rtol=1e-6)


def test_float_images():
    X = RNG.random((100, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(Preprocessor().fit(X, CLASSES).transform(X), X)
    wide = X * np.array([10, 100, 1000], np.float32)[:, None, None]
    result = Preprocessor().fit(wide, CLASSES).transform(wide)
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3)), 1, atol=1e-5)


def test_transform_leaves_its_input_alone():
    X = RNG.normal(0, 9, (100, 1, 2, 2)).astype(np.float32)
    before = X.copy()
    Preprocessor().fit(X, CLASSES).transform(X)
    np.testing.assert_array_equal(X, before)


def test_targets():
    X, y = RNG.random((100, 2)), RNG.normal(50, 10, 100)
    classes = Preprocessor().fit(X, CLASSES)
    assert classes.target(CLASSES).dtype == np.int64
    assert classes.target_scale == 1.0
    numbers = Preprocessor().fit(X, y)
    assert numbers.target_scale == pytest.approx(y.std())
    assert numbers.target(y).dtype == np.float32
    np.testing.assert_allclose(numbers.target(y) * y.std() + y.mean(), y, rtol=1e-5)


def test_a_table_of_bytes_is_standardised_as_other_numbers_are():
    X = RNG.integers(0, 2, (100, 5))
    bits = [from_arrays(X.astype(kind), CLASSES).X for kind in (np.uint8, np.int64, bool, float)]
    first, *others = (Preprocessor().fit(rows, CLASSES).transform(rows) for rows in bits)
    np.testing.assert_allclose(first.std(0), 1, rtol=1e-5)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-5)
