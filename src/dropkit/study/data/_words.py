"""Free text as numbers: its words, hashed into a few features."""

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
    """Counts the words of a text, several words to a feature; nothing is learned from the rows.

    Each word adds 1 to a feature, or takes 1 away, as its hash says; a text has length 1.

    References:
        Weinberger et al. (2009), "Feature hashing for large scale multitask learning".
    """

    kind: ClassVar[str] = "text"
    how: ClassVar[str] = f"words hashed into {_FEATURES} features"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """The hashed words of every text, and zeros for none."""
        hashed = HashingVectorizer(n_features=_FEATURES, dtype=np.float64).transform([*words, ""])
        return {f"#{i + 1}": column for i, column in enumerate(hashed.toarray().T.copy())}
