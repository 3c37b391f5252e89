"""Load 20 newsgroups as a bag of 2,000 words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._fetch import fetch

URL = "https://raw.githubusercontent.com/ysmiao/nvdm/master/data/20news/"
FILES = {
    "train.feat": "sha256:55dfc0cc4e8aac22484ed93a4d785bb171959a00e8ffbca6f13c1c80d8cc4ce5",
    "test.feat": "sha256:344eff7e61116d72abd6ebc3d3c1e286c0474b41bf85ab09c8b898e0a5ff80c1",
}
WORDS, GROUPS = 2000, 20
_LARGEST = 10**6  # more than the number of words of any post


def load_newsgroups(data_dir: Path | None = None) -> Data:
    """Load 20 newsgroups with its fixed test set.

    The features of a post are log(1 + count) for each of 2,000 words, scaled to Euclidean length 1.
    The logarithm shortens the long tail of counts, and scaling removes the length of the post.
    Posts with none of the words are left out.
    """
    train, test = (_read(path) for path in fetch("20ng-bow", URL, FILES, ["20ng-bow"], data_dir))
    (X, y), (X_test, y_test) = train, test
    classes = tuple(str(group) for group in range(1, GROUPS + 1))
    return Data("20ng-bow", X, y, "classification", classes, "group", X_test, y_test)


def _read(path: Path) -> tuple[Array, Array]:
    """Read lines of ``group word:count word:count …``, with groups and words numbered from 1."""
    posts, groups = [], []
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            group, *pairs = line.split()
            post = np.zeros(WORDS, np.float32)
            for word, _, count in (pair.partition(":") for pair in pairs):
                post[_number(word, WORDS) - 1] = _number(count, _LARGEST)
            groups.append(_number(group, GROUPS) - 1)
            posts.append(np.log1p(post))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is damaged or of another format ({error}); expected lines such as "
            "'1 447:1 1365:2'; download it again"
        ) from error
    if not posts:
        raise DataError(f"{path} is empty; download it again")
    X = np.stack(posts)
    length = np.linalg.norm(X, axis=1)
    filled = length > 0
    return X[filled] / length[filled, None], np.array(groups, np.int64)[filled]


def _number(text: str, highest: int) -> int:
    number = int(text)
    if not 1 <= number <= highest:
        raise ValueError(f"{text[:20]} is not one of 1 to {highest}")
    return number
