"""From rows of data to the float32 numbers that a network takes."""

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

# Rarer categories, and all beyond the most frequent ones, share one column.
MIN_ROWS, MAX_CATEGORIES = 5, 50

# In standard deviations. A column that hardly ever varies, such as a pixel at the rim, would else
# give values in the hundreds, and a single one of them can wreck a training.
_WIDEST = 10.0


class Preprocessor:
    """Scale and encode features, and standardise a numeric target, as the training rows say.

    Tables and vectors go through a scikit-learn pipeline. Numbers: the median for missing ones,
    an extra column that says where they were, mean 0 and standard deviation 1, and no value
    beyond 10 standard deviations. Categories:
    one column each, missing being one of them; those in fewer than 5 training rows, those beyond
    the 50 most frequent and those the training rows lack share one column. If there are more than
    50, one column more says how frequent each is among the training rows. Images of uint8
    are divided by 255; float images within [0, 1] stay as they are and others are standardised per
    channel.

    Args:
        features: whether features are changed; if not, those of an array stay as they are, whole
            numbers as int64 (bytes as uint8) and others as float32.

    Attributes:
        target_mean, target_scale: mean and standard deviation of the training target in its own
            units, of each where there are several; 0 and 1 for classes and labels.

    Example:
        >>> X = pd.DataFrame({"age": [20.0, 40.0, np.nan], "sex": ["f", "m", "f"]})
        >>> Preprocessor().fit(X, np.array([0, 1, 1])).transform(X).shape
        (3, 3)
    """

    def __init__(self, features: bool = True) -> None:
        self.features = features

    def fit(self, X: Any, y: Array) -> Self:
        """Learn from the training rows ``X`` with target ``y``; returns the preprocessor.

        Raises:
            DataError: ``X`` holds signed integers, which are taken for numbers of words, or a table
                that is to stay as it is.
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
        """Learn from the target alone, where no features are transformed."""
        self.target_mean: float | Array = 0.0
        self.target_scale: float | Array = 1.0
        if y.dtype.kind == "f" and y.ndim == 1:
            self.target_mean, self.target_scale = float(y.mean()), float(y.std()) or 1.0
        elif y.dtype.kind == "f":
            columns = np.ascontiguousarray(y.T)  # summed as a single target is
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
                "integer features are taken for whole numbers that stand for words, which have no "
                "scale; leave them as they are with --no-preprocess (preprocess=False in Python) "
                "and give a network with an embedding, or give measurements as floats"
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
        """The features as float32, shape (rows, features) or (rows, channels, height, width).

        Without preprocessing in the shape that they have, whole numbers as integers.
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
        """Class indices as int64, labels as float32 of 0 and 1, or numbers as float32 in training
        standard deviations.
        """
        if y.dtype.kind != "f":
            return y.astype(np.int64 if y.ndim == 1 else np.float32)
        return ((y - self.target_mean) / self.target_scale).astype(np.float32)


def measure_units(y: Array) -> Array:
    """The standard deviation of every column; 1 for one that does not vary."""
    return np.array([float(column.std()) or 1.0 for column in np.ascontiguousarray(y.T)])


def _fit_part(part: Any) -> Preprocessor:
    """Fit one of several inputs; whole numbers and truth values stay as they are."""
    values = part.taken() if isinstance(part, Sequences) else part
    preprocessor = Preprocessor(values.dtype.kind not in "ib")
    if preprocessor.features:
        preprocessor._fit_features(values)
    return preprocessor


def _transform_part(preprocessor: Preprocessor, part: Any) -> Any:
    """Transform one of several inputs, sequences as their steps are."""
    if isinstance(part, Sequences):
        steps = _transform_part(preprocessor, part.taken())
        return Sequences.join(steps, part.lengths, part.longest)
    return part if part.dtype.kind == "b" else preprocessor.transform(part)


class _Frequency(BaseEstimator, TransformerMixin):  # type: ignore[misc]  # sklearn has no types
    """log(1 + n) of categories that n training rows hold: the target plays no part."""

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
    # 0 and 1 as they are: standardised, a rare 1 would be a huge number.
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
