"""Describe the shape of a row of one input, or of several named inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...] | dict[str, tuple[int, ...]]


def describe_shape(shape: Shape) -> str:
    """Describe a shape in words.

    >>> describe_shape((1, 8, 8))
    '1x8x8'
    >>> describe_shape({"image": (1, 8, 8), "table": (5,), "kind": ()})
    'image 1x8x8, table 5 and kind (one number)'
    """
    if isinstance(shape, dict):
        return join_words(f"{name} {describe_shape(each)}" for name, each in shape.items())
    return "x".join(map(str, shape)) or "(one number)"


def join_words(words: Iterable[str]) -> str:
    """Join words into a list, with *and* before the last.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = [*words] or [""]
    return f"{', '.join(most)} and {last}" if most else last
