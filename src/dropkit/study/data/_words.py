"""Read free text by hashing its words into a few features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from dropkit.study.data._data import Array

_FEATURES = 64


@dataclass(frozen=True)
class TextReader:
    """Hash the words of a text into a fixed number of features, without learning from the rows.

    The hash of a word chooses a feature and adds 1 to it or subtracts 1. Then the features of a
    text are scaled to Euclidean length 1.

    References:
        Weinberger et al. (2009), "Feature hashing for large scale multitask learning".
    """

    kind: ClassVar[str] = "text"
    how: ClassVar[str] = f"words hashed into {_FEATURES} features"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return the features of every text, and zeros for a missing text."""
        hashed = HashingVectorizer(n_features=_FEATURES, dtype=np.float64).transform([*words, ""])
        return {f"#{i + 1}": column for i, column in enumerate(hashed.toarray().T.copy())}
