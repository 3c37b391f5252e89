"""Read columns of categories, of booleans as words, and of lists of categories."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dropkit.study.data._cells import Cells, some_of
from dropkit.study.data._data import Array
from dropkit.study.data._preprocess import MAX_CATEGORIES, MIN_ROWS

_TRUTHS = tuple(
    tuple(pair.split())
    for pair in (
        "true false", "yes no", "y n", "t f", "on off", "ja nein", "j n", "oui non", "si no",
        "sí no", "sim não", "sì no", "wahr falsch", "vrai faux", "verdadero falso", "da net",
    )
)  # fmt: skip
_MOST_SPELLINGS = 100  # more distinct words cannot be two words in upper and lower case

# A column holds lists if at least a share _SEVERAL of its cells have several items, and a share
# _KNOWN of its items are frequent.
_SEVERAL, _KNOWN = 0.2, 0.95
_LONGEST = 40  # most characters of an item


@dataclass(frozen=True)
class CategoryReader:
    """Read every word as a category."""

    why: str = ""
    kind: ClassVar[str] = "category"

    @property
    def how(self) -> str:
        """Why the column is not read as the kind it looks like; may be empty."""
        return self.why

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return the words, and NaN for a missing value."""
        return {"": np.array([*words, np.nan], dtype=object)}


@dataclass(frozen=True)
class BooleanReader:
    """Read one word as 1 and another as 0, in upper or lower case."""

    true: str
    false: str
    kind: ClassVar[str] = "boolean"

    @property
    def how(self) -> str:
        """The values of the two words."""
        return f"{self.true} = 1, {self.false} = 0"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return 1 or 0 for each word, and NaN for other words and for a missing value."""
        values = {self.true: 1.0, self.false: 0.0, "1": 1.0, "0": 0.0}
        return {"": np.array([*(values.get(w.lower(), np.nan) for w in words), np.nan])}


@dataclass(frozen=True)
class ListReader:
    """Read several categories in one cell.

    Args:
        separator: the text between two items; ``[]`` for lists in Python or JSON syntax.
        items: the categories that become features; other categories are left out.
    """

    separator: str
    items: tuple[str, ...]
    kind: ClassVar[str] = "list"

    @property
    def how(self) -> str:
        """The separator and the number of categories."""
        between = "in brackets" if self.separator == "[]" else f"separated by {self.separator!r}"
        return f"{len(self.items)} categories {between}"

    def features(self, words: Sequence[str]) -> dict[str, Array]:
        """Return one feature per item: 1 if the list holds it. An empty cell is an empty list."""
        place = {item: i for i, item in enumerate(self.items)}
        found = np.zeros((len(words) + 1, len(place)))
        for row, word in enumerate(words):
            for item in _items(word, self.separator):
                if item in place:
                    found[row, place[item]] = 1.0
        return {item: found[:, i] for item, i in place.items()}

    def left_out(self, words: Sequence[str]) -> list[str]:
        """Return the categories in these cells that become no feature."""
        held = {item for word in words for item in _items(word, self.separator)}
        return sorted(held - {*self.items})


def find_boolean(words: Sequence[str]) -> BooleanReader | None:
    """Return a reader of booleans, or ``None`` if a word is not boolean.

    >>> find_boolean(["Yes", "no"]).how
    'yes = 1, no = 0'
    """
    if len(words) > _MOST_SPELLINGS:
        return None
    held = {word.lower() for word in words}
    for true, false in _TRUTHS:
        if len(held) == 2 and held == {true, false}:
            return BooleanReader(true, false)
    return None


def find_labels(words: Sequence[str]) -> BooleanReader | None:
    """Return a reader of labels (1 and 0, or words for true and false), even if only one occurs.

    >>> find_labels(["0", "1"]).how, find_labels(["red", "no"])
    ('1 = 1, 0 = 0', None)
    """
    held = {word.lower() for word in words}
    for true, false in (("1", "0"), *_TRUTHS):
        if held and held <= {true, false}:
            return BooleanReader(true, false)
    return None


def find_list(cells: Cells, is_given: bool = False) -> ListReader | None:
    """Return a reader of lists of categories, or ``None`` if the cells are not lists.

    Args:
        cells: the column.
        is_given: whether the user says that the column holds lists.
    """
    best: tuple[float, str, Counter[str]] | None = None
    counts = cells.counts
    some = some_of(cells.words)
    for separator in ("[]", "|", ";", ","):
        if not is_given and sum(len(_items(word, separator)) > 1 for word in some) < _SEVERAL * len(
            some
        ):
            continue
        lists = [_items(word, separator) for word in cells.words]
        several = sum(int(n) for n, items in zip(counts, lists, strict=True) if len(items) > 1)
        if several < (1 if is_given else _SEVERAL * cells.present):
            continue
        held: Counter[str] = Counter()
        for n, items in zip(counts, lists, strict=True):
            held.update(dict.fromkeys(items, int(n)))
        unlike = any(len(item) > _LONGEST for item in held) or len(held) >= len(lists)
        twice = any(len(set(items)) < len(items) for items in lists)
        frequent = held.most_common(MAX_CATEGORIES)
        known = sum(n for _, n in frequent if n >= MIN_ROWS) / max(1, held.total())
        if not is_given and (unlike or twice or known < _KNOWN):
            continue
        if best is None or several > best[0]:
            best = several, separator, held
    if best is None:
        return None
    frequent = [(item, n) for item, n in best[2].most_common(MAX_CATEGORIES) if n >= MIN_ROWS]
    # An item that is in every list carries no information.
    kept = sorted(item for item, n in frequent if n < len(cells.index))
    return ListReader(best[1], tuple(kept)) if kept else None


def _items(word: str, separator: str) -> list[str]:
    if separator != "[]":
        return [item.strip() for item in word.split(separator) if item.strip()]
    if not (word[:1] == "[" and word[-1:] == "]"):
        return []
    try:
        found = ast.literal_eval(word)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = word[1:-1].split(",")
    return [str(item).strip() for item in found if str(item).strip()]


def near_twins(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of words that differ only by case or spaces.

    >>> near_twins(["Berlin", "Bonn", "berlin"])
    [('Berlin', 'berlin')]
    """
    first: dict[str, str] = {}
    pairs = []
    for word in words:
        key = re.sub(r"\s+", " ", word).strip().casefold()
        if key in first:
            pairs.append((first[key], word))
        first.setdefault(key, word)
    return pairs
