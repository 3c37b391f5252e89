"""Define dropout without sampling: its expectation, its penalty and its closed form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from dropkit.noise import Dropout
from dropkit.study.methods._drop import drop, drop_arguments
from dropkit.study.methods.closed_form import ridge
from dropkit.study.methods.method import Argument, Method
from dropkit.study.methods.objective import Expected, Explicit
from dropkit.study.methods.recipe import Recipe


def _fast(recipe: Recipe, **arguments: float) -> Recipe:
    return replace(drop(Dropout, recipe, **arguments).minimizing(Expected), one_array=True)


def _explicit(recipe: Recipe, *, noise: float, **arguments: float) -> Recipe:
    objective = partial(Explicit, bool(noise))
    return replace(drop(Dropout, recipe, **arguments).minimizing(objective), one_array=True)


def _ridge(recipe: Recipe, *, p: float) -> Recipe:
    return replace(recipe, solve=partial(ridge, p), one_array=True)


UNSAMPLED = (
    Method(
        "fast-dropout",
        "Minimize the expected loss under dropout, computed from means and variances, without "
        "masks.",
        "Wang and Manning 2013",
        _fast,
        drop_arguments(0.99),
    ),
    Method(
        "explicit-dropout",
        "Train without masks, on the loss plus the penalty that is equivalent to dropout.",
        "Wei et al. 2020",
        _explicit,
        (
            *drop_arguments(0.99),
            Argument("noise", 0, "1 also adds the noise of sampled dropout", 0, 1, whole=True),
        ),
    ),
    Method(
        "dropout-ridge",
        "Replace the network by linear regression with dropout on the inputs, in closed form.",
        "Wager et al. 2013",
        _ridge,
        (Argument("p", 0.5, "probability of dropping an input", 0, 0.99, tune=(0.05, 0.9)),),
    ),
)
