"""Fields of a dataclass that are kept in less memory than the value that they are read as."""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, cast

_C = TypeVar("_C", bound=type)
_encode = json.JSONEncoder().encode


@dataclass(frozen=True)
class Form:
    """How a value is kept, and how it is made again whenever it is read."""

    keep: Callable[[Any], Any]
    make: Callable[[Any], Any]


def compact(**forms: Form) -> Callable[[_C], _C]:
    """Keep these fields of a frozen dataclass with slots in another form.

    A study holds ten thousand trainings of many epochs, and a tuple takes 32 bytes for each of
    its floats. Nobody who sets a field or reads it sees the form: neither the constructor, a
    comparison or a copy, nor pickle or pydantic.

    >>> @compact(losses=FLOATS, steps=COUNTS)
    ... @dataclass(frozen=True, slots=True)
    ... class Losses:
    ...     losses: tuple[float | None, ...]
    ...     steps: tuple[int, ...]
    >>> Losses((0.5, None), (10, 20))
    Losses(losses=(0.5, None), steps=(10, 20))
    """

    def over(cls: _C) -> _C:
        for name, form in forms.items():
            setattr(cls, name, _Kept(form, getattr(cls, name)))
        return cls

    return over


class _Kept:
    """Stands before a slot, which holds the form."""

    def __init__(self, form: Form, slot: Any) -> None:
        self.form, self.slot = form, slot

    def __get__(self, instance: object | None, owner: type) -> Any:
        return self if instance is None else self.form.make(self.slot.__get__(instance, owner))

    def __set__(self, instance: object, value: Any) -> None:
        self.slot.__set__(instance, self.form.keep(value))


def _floats(values: Sequence[float | None]) -> bytes:
    if None in values:
        values = [math.nan if value is None else value for value in values]
    return array("d", cast("Sequence[float]", values)).tobytes()


def _tuple(content: bytes) -> tuple[float | None, ...]:
    values = array("d", content)
    if math.isnan(sum(values)):
        return tuple(None if math.isnan(value) else value for value in values)
    return tuple(values)


@lru_cache(maxsize=1024)
def _same(content: bytes) -> bytes:
    """The first of equal contents, so that the others are let go."""
    return content


def _counts(values: Sequence[int]) -> bytes:
    try:
        return _same(array("q", values).tobytes())
    except OverflowError:
        raise ValueError("a count must fit into eight bytes") from None


FLOATS = Form(_floats, _tuple)
"""A tuple of floats in eight bytes each; ``None`` is kept as NaN, and NaN is read as ``None``."""

COUNTS = Form(_counts, lambda content: tuple(array("q", content)))
"""A tuple of whole numbers that many have alike: kept once for all of them."""

MAPPING = Form(lambda value: sys.intern(_encode(value)), json.loads)
"""Names and numbers that many have alike: kept once for all of them, as JSON text."""
