"""Preprocess rows of data into the float32 numbers that a network takes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from dropkit.errors import DataError
from dropkit.study.data._data import Array
from dropkit.study.inputs import Inputs, Sequences

# Categories with fewer rows, and all but this many frequent ones, share one column.
MIN_ROWS, MAX_CATEGORIES = 5, 50

# Clip values at this many standard deviations. Otherwise a column that rarely varies, such as a
# pixel at the edge, gives values in the hundreds, and one such value can ruin a training.
_WIDEST = 10.0


class Preprocessor:
    """Scale and encode features, and standardize a numeric target, as fitted on training rows.

    Tables and vectors go through a scikit-learn pipeline. For numbers, the median replaces missing
    values, and an extra column marks them. Then numbers are standardized and clipped at 10 standard
    deviations. Every category becomes a column, and missing is a category too. Three kinds of
    categories share one column: those in fewer than 5 training rows, those beyond the 50 most
    frequent, and those absent from the training rows. With more than 50 categories, an extra column
    holds the frequency of each category in the training rows. Images of uint8 are divided by 255.
    Float images in [0, 1] are not changed; other float images are standardized per channel.

    Args:
        features: whether to change features. If not, an array keeps its numbers: integers as int64
            (bytes as uint8), others as float32.

    Attributes:
        target_mean, target_scale: mean and standard deviation of each training target in its own
            units; 0 and 1 for classes and labels.

    Example:
        >>> X = pd.DataFrame({"age": [20.0, 40.0, np.nan], "sex": ["f", "m", "f"]})
        >>> Preprocessor().fit(X, np.array([0, 1, 1])).transform(X).shape
        (3, 3)
    """

    def __init__(self, features: bool = True) -> None:
        self.features = features

    def fit(self, X: Any, y: Array) -> Self:
        """Fit to the training rows ``X`` with target ``y``, and return the preprocessor.

        Raises:
            DataError: ``X`` holds signed integers, which are assumed to be word numbers, or ``X``
                is a table and ``features`` is false.
        """
        if self.features:
            self._fit_features(X)
        elif isinstance(X, pd.DataFrame):
            raise DataError(
                f"a column such as {X.columns[0]!r} may hold text, which no network takes as it "
                "is; leave preprocessing on"
            )
        return self.fit_target(y)

    def fit_target(self, y: Array) -> Self:
        """Fit only to the target, without features."""
        self.target_mean: float | Array = 0.0
        self.target_scale: float | Array = 1.0
        if y.dtype.kind == "f" and y.ndim == 1:
            self.target_mean, self.target_scale = float(y.mean()), float(y.std()) or 1.0
        elif y.dtype.kind == "f":
            columns = np.ascontiguousarray(y.T)  # to sum a column like a single target
            self.target_mean = np.array([column.mean() for column in columns])
            self.target_scale = measure_units(y)
        return self

    def _fit_features(self, X: Any) -> None:
        if isinstance(X, Inputs):
            self._parts = {name: _fit_part(part) for name, part in X.items()}
            return
        self._pipeline: Pipeline | ColumnTransformer | None = None
        self._shift: Array = np.zeros(1, np.float32)
        self._scale: Array = np.ones(1, np.float32)
        if isinstance(X, pd.DataFrame):
            self._pipeline = _table_pipeline(X).fit(X)
        elif X.dtype.kind == "i":
            raise DataError(
                "integer features are read as word numbers, which have no scale: use "
                "--no-preprocess and a network with an embedding, or "
                "give measurements as floats"
            )
        elif X.ndim == 2:
            self._pipeline = _number_pipeline().fit(X)
        elif X.dtype == np.uint8:
            self._scale = np.full(1, 255.0, np.float32)
        elif X.min() < 0.0 or X.max() > 1.0:
            axes = (0, 2, 3)
            std = X.std(axis=axes, keepdims=True, dtype=np.float64)[0]
            self._shift = X.mean(axis=axes, keepdims=True, dtype=np.float64)[0].astype(np.float32)
            self._scale = np.where(std > 0.0, std, 1.0).astype(np.float32)

    def transform(self, X: Any) -> Any:
        """Transform features to float32: (rows, features) or (rows, channels, height, width).

        Without preprocessing, features keep their shape, and integers remain integers.
        """
        if isinstance(X, Inputs):
            parts = self._parts if self.features else dict.fromkeys(X.parts, self)
            return Inputs({name: _transform_part(parts[name], part) for name, part in X.items()})
        if not self.features:
            kind = np.int64 if X.dtype.kind in "iu" else np.float32
            plain: Array = X if X.dtype == np.uint8 else X.astype(kind)
            return plain
        if self._pipeline is not None:
            return np.ascontiguousarray(self._pipeline.transform(X), dtype=np.float32)
        result = X.astype(np.float32)
        result -= self._shift
        result /= self._scale
        return result

    def target(self, y: Array) -> Array:
        """Transform a target to class indices, to labels of 0 and 1, or to standardized numbers.

        Class indices are int64; labels and numbers are float32.
        """
        if y.dtype.kind != "f":
            return y.astype(np.int64 if y.ndim == 1 else np.float32)
        return ((y - self.target_mean) / self.target_scale).astype(np.float32)


def measure_units(y: Array) -> Array:
    """Return the standard deviation of every column; 1 for a constant column."""
    return np.array([float(column.std()) or 1.0 for column in np.ascontiguousarray(y.T)])


def _fit_part(part: Any) -> Preprocessor:
    """Fit one of several inputs; integers and booleans are not changed."""
    values = part.taken() if isinstance(part, Sequences) else part
    preprocessor = Preprocessor(values.dtype.kind not in "ib")
    if preprocessor.features:
        preprocessor._fit_features(values)
    return preprocessor


def _transform_part(preprocessor: Preprocessor, part: Any) -> Any:
    """Transform one of several inputs; for sequences, transform the steps."""
    if isinstance(part, Sequences):
        steps = _transform_part(preprocessor, part.taken())
        return Sequences.join(steps, part.lengths, part.longest)
    return part if part.dtype.kind == "b" else preprocessor.transform(part)


class _Frequency(BaseEstimator, TransformerMixin):  # type: ignore[misc]  # sklearn has no types
    """Encode a category as log(1 + n), where n training rows hold it, without using the target."""

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        self.counts_ = [X[name].value_counts() for name in X]
        return self

    def transform(self, X: pd.DataFrame) -> Array:
        counted = [X[name].map(n) for name, n in zip(X, self.counts_, strict=True)]
        return np.column_stack([np.log1p(n.fillna(0).to_numpy(np.float64)) for n in counted])


def _number_pipeline() -> Any:
    values = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -_WIDEST, "a_max": _WIDEST}),
    )
    # Indicators are not standardized; otherwise a rare 1 becomes a huge number.
    missing = MissingIndicator(features="missing-only", error_on_new=False)
    return FeatureUnion([("values", values), ("missing", missing)])


def _table_pipeline(X: pd.DataFrame) -> ColumnTransformer:
    numbers = [name for name in X if pd.api.types.is_numeric_dtype(X[name])]
    words = [name for name in X if name not in set(numbers)]
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True),
        OneHotEncoder(
            min_frequency=MIN_ROWS,
            max_categories=MAX_CATEGORIES,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            dtype=np.float32,
        ),
    )
    return ColumnTransformer(
        [
            ("numbers", _number_pipeline(), numbers),
            ("categories", categories, words),
            (
                "frequencies",
                make_pipeline(_Frequency(), StandardScaler()),
                [name for name in words if X[name].nunique() > MAX_CATEGORIES],
            ),
        ],
        sparse_threshold=0.0,
    )
