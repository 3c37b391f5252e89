"""Represent method expressions such as ``dropout(p=0.3,input=0.1)+weight-decay``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dropkit.study.methods.method import Argument, Method

if TYPE_CHECKING:
    from dropkit.study.methods.recipe import Recipe


@dataclass(frozen=True)
class Term:
    """One method with the given arguments; other arguments keep their defaults."""

    method: Method
    given: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        if not self.given:
            return self.method.name
        return f"{self.method.name}({','.join(f'{k}={_shortest(v)}' for k, v in self.given)})"

    def arguments(self) -> dict[str, float]:
        """Return the value of every argument."""
        return {a.name: a.default for a in self.method.arguments} | dict(self.given)


def _shortest(value: float) -> str:
    """Return the shortest text that is read as exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True)
class Expression:
    """One or more methods applied together, in order.

    >>> from dropkit.study.methods.parsing import parse
    >>> expression = parse("dropout( p=0.30 ) + weight-decay")
    >>> str(expression)
    'dropout(p=0.3)+weight-decay'
    >>> expression.arguments()["dropout.input"]
    0.2
    """

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return "+".join(str(term) for term in self.terms)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic accept text for an expression, because the settings parse the text later."""
        from pydantic_core import core_schema

        return core_schema.str_schema()

    def arguments(self) -> dict[str, float]:
        """Return every argument of every term, by names such as ``dropout.p``."""
        return {f"{t.method.name}.{k}": v for t in self.terms for k, v in t.arguments().items()}

    def searched(self) -> tuple[Argument, ...]:
        """Return every argument with a range to search, named as in `arguments`."""
        return tuple(
            replace(argument, name=f"{t.method.name}.{argument.name}", default=value)
            for t in self.terms
            for argument, value in zip(t.method.arguments, t.arguments().values(), strict=True)
            if argument.tune is not None
        )

    def recipe(self, recipe: Recipe, hyperparameters: dict[str, float] | None = None) -> Recipe:
        """Apply the terms in order.

        ``hyperparameters`` override the arguments; they are named as in `arguments`.
        """
        values = self.arguments() | (hyperparameters or {})
        for term in self.terms:
            name = term.method.name
            recipe = term.method.apply(
                recipe, **{a.name: values[f"{name}.{a.name}"] for a in term.method.arguments}
            )
        return recipe
