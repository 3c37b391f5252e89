"""Parse method expressions."""

from __future__ import annotations

import math
import re

from dropkit.errors import StudyError
from dropkit.study.methods.catalogue import METHODS
from dropkit.study.methods.expression import Expression, Term
from dropkit.text import nearest

_TERM = re.compile(r"\s*([A-Za-z0-9_-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def parse(text: str | Expression) -> Expression:
    """Parse a method expression; return a parsed expression unchanged.

    Raise `StudyError` with the nearest known name if a name is unknown.

    >>> parse("droput")
    Traceback (most recent call last):
    dropkit.errors.StudyError: unknown method 'droput': did you mean 'dropout'?
    """
    if isinstance(text, Expression):
        return text
    terms: list[Term] = []
    for part in _split(text, "+"):
        match = _TERM.fullmatch(part)
        if match is None:
            raise StudyError(
                f"cannot read the method {part.strip()!r} in {text!r}; "
                "write name or name(argument=value), joined by +"
            )
        term = _term(match[1], match[2] or "")
        if any(term.method.name == other.method.name for other in terms):
            raise StudyError(f"the method {text!r} names {term.method.name!r} twice; name it once")
        terms.append(term)
    return Expression(tuple(terms))


def parse_list(text: str) -> tuple[str, ...]:
    """Split a comma-separated list of expressions, leaving commas inside parentheses alone.

    >>> parse_list("none, dropout(p=0.3,input=0), l1")
    ('none', 'dropout(p=0.3,input=0)', 'l1')
    """
    return tuple(part.strip() for part in _split(text, ",") if part.strip())


def _term(name: str, inside: str) -> Term:
    method = METHODS.get(name)
    if method is None:
        raise StudyError(f"unknown method {name!r}: {nearest(name, METHODS)}")
    known = {argument.name: argument for argument in method.arguments}
    given: dict[str, float] = {}
    for part in filter(str.strip, inside.split(",")):
        key, equals, raw = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise StudyError(f"{name}({inside}): write {part.strip()!r} as argument=value")
        if key not in known:
            hint = nearest(key, known) if known else f"{name} takes no arguments"
            raise StudyError(f"{name} has no argument {key!r}: {hint}")
        if key in given:
            raise StudyError(f"{name}({inside}): {key} is given twice; give it once")
        try:
            value = float(raw)
        except ValueError:
            value = math.nan
        given[key] = known[key].check(value, f"{name}({key}={raw})")
    order = [argument.name for argument in method.arguments]
    return Term(method, tuple(sorted(given.items(), key=lambda item: order.index(item[0]))))


def _split(text: str, separator: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
