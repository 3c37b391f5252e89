"""Method expressions: ``dropout(p=0.3,input=0.1)+weight-decay`` as text and as values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from dropkit.errors import StudyError
from dropkit.study.methods import METHODS
from dropkit.study.methods.method import Method
from dropkit.study.methods.recipe import Recipe
from dropkit.text import nearest

_TERM = re.compile(r"\s*([A-Za-z0-9_-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One method with the arguments that were given; the others keep their defaults."""

    method: Method
    given: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        if not self.given:
            return self.method.name
        return f"{self.method.name}({','.join(f'{k}={_shortest(v)}' for k, v in self.given)})"

    def arguments(self) -> dict[str, float]:
        """Every argument with the value it has here."""
        return {a.name: a.default for a in self.method.arguments} | dict(self.given)


def _shortest(value: float) -> str:
    """The shortest text that is read as this very number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True)
class Expression:
    """One or more methods applied together, in order.

    >>> expression = parse("dropout( p=0.30 ) + weight-decay")
    >>> str(expression)
    'dropout(p=0.3)+weight-decay'
    >>> expression.arguments()["dropout.input"]
    0.2
    """

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return "+".join(str(term) for term in self.terms)

    def arguments(self) -> dict[str, float]:
        """Every argument of every term under ``method.argument``."""
        return {f"{t.method.name}.{k}": v for t in self.terms for k, v in t.arguments().items()}

    def recipe(self, recipe: Recipe, chosen: dict[str, float] | None = None) -> Recipe:
        """Apply the terms in order; ``chosen`` overrides arguments, keyed as `arguments` keys."""
        values = self.arguments() | (chosen or {})
        for term in self.terms:
            name = term.method.name
            recipe = term.method.apply(
                recipe, **{a.name: values[f"{name}.{a.name}"] for a in term.method.arguments}
            )
        return recipe


def parse(text: str) -> Expression:
    """Read a method expression; raises `StudyError` with the nearest known name.

    >>> parse("droput")
    Traceback (most recent call last):
    dropkit.errors.StudyError: unknown method 'droput': did you mean 'dropout'?
    """
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
