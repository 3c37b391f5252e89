"""Apply a method in a user's own training loop."""

from __future__ import annotations

from dataclasses import replace

from dropkit.errors import StudyError
from dropkit.study.methods.catalogue import METHODS
from dropkit.study.methods.expression import Expression, Term
from dropkit.study.methods.method import Argument
from dropkit.study.methods.objective import Sampled
from dropkit.study.methods.recipe import Recipe


def own_arguments(method: Expression) -> dict[str, float]:
    """Return the method's arguments in a user's own loop, under ``method.argument``.

    Inputs are only dropped if the expression gives a rate, because inputs may be of any kind.

    >>> from dropkit.study.methods.parsing import parse
    >>> own_arguments(parse("dropout(p=0.3)+max-norm"))
    {'dropout.p': 0.3, 'dropout.input': 0.0, 'max-norm.c': 3.0}
    """
    given = {
        f"{term.method.name}.{name}": value for term in method.terms for name, value in term.given
    }
    return {
        name: given.get(name, 0.0) if name.endswith(".input") else value
        for name, value in method.arguments().items()
    }


def list_searched_arguments(method: Expression) -> tuple[Argument, ...]:
    """Return the arguments that a search varies, except rates of inputs that are not given."""
    acting = own_arguments(method)
    return tuple(
        replace(argument, default=acting[argument.name])
        for argument in method.searched()
        if argument.name in acting
        and (acting[argument.name] > 0 or not argument.name.endswith(".input"))
    )


def own_recipe(
    method: Expression, hyperparameters: dict[str, float] | None = None, weight_decay: float = 0.0
) -> Recipe:
    """Return the recipe of a method for a user's own loop.

    Args:
        method: the method.
        hyperparameters: tuned arguments, which override those of the expression.
        weight_decay: the weight decay of the user's own training.

    Raises:
        StudyError: the method needs the built-in training; the message names methods to use.
    """
    plain = Recipe(lr=1.0, weight_decay=weight_decay)
    recipe = method.recipe(plain, own_arguments(method) | (hyperparameters or {}))
    if why := _why_not(recipe, plain):
        raise StudyError(
            f"{method} does not work in your own training, because it {why}. Methods that do: "
            f"{', '.join(_list_usable())}"
        )
    return recipe


def _list_usable() -> list[str]:
    plain = Recipe(lr=1.0)
    alone = {name: Expression((Term(method),)) for name, method in METHODS.items()}
    return [name for name, method in alone.items() if not _why_not(method.recipe(plain), plain)]


def _why_not(recipe: Recipe, plain: Recipe) -> str:
    """Return why a user's own loop cannot use a recipe, or an empty text if it can."""
    if recipe.solve is not None:
        return "is solved in closed form"
    if recipe.members > 1:
        return "trains several networks and averages them"
    if recipe.objective is not Sampled:
        return "replaces the loss of a pass"
    if recipe.groups:
        return "needs the batches of the built-in training"
    if (recipe.lr, recipe.momentum) != (plain.lr, plain.momentum):
        return "changes the optimizer's steps, which your own optimizer determines"
    return ""
