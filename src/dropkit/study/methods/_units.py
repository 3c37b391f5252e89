"""Define the methods that drop units: dropout and its variants."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import nn

from dropkit import noise
from dropkit.noise import Dropout, GaussianDropout, RatedNoise
from dropkit.study.methods._classic import LIMIT, STEPS, larger_steps, limit_norms
from dropkit.study.methods._drop import drop, drop_arguments
from dropkit.study.methods.method import Argument, Method
from dropkit.study.methods.objective import Agreement
from dropkit.study.methods.recipe import Recipe


def _r_drop(recipe: Recipe, *, alpha: float, **arguments: float) -> Recipe:
    return drop(Dropout, recipe, **arguments).minimizing(partial(Agreement, alpha))


def _as_in_the_paper(
    recipe: Recipe, *, c: float, lr: float, momentum: float, **arguments: float
) -> Recipe:
    recipe = larger_steps(drop(Dropout, recipe, **arguments), lr=lr, momentum=momentum)
    return limit_norms(recipe, c=c)


def _annealed(recipe: Recipe, *, until: float, **arguments: float) -> Recipe:
    return replace(drop(Dropout, recipe, **arguments), anneal=until)


def _thinned(recipe: Recipe, *, groups: float, **arguments: float) -> Recipe:
    return replace(_annealed(recipe, **arguments), groups=int(groups))


def variants() -> Iterator[Method]:
    """Create a method for every noise layer that works after any hidden layer."""
    for name in noise.__all__:
        layer = getattr(noise, name)
        made = isinstance(layer, type) and issubclass(layer, RatedNoise)
        if not made or layer in (Dropout, GaussianDropout) or not layer.behind_any_layer:
            continue
        if getattr(layer.perturb, "__isabstractmethod__", False):
            continue
        doc = inspect.cleandoc(layer.__doc__ or "")
        source = re.search(r"Reference: (.+?) \((\d{4})\)", doc)
        yield Method(
            re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower(),
            doc.partition("\n")[0],
            f"{source[1]} {source[2]}" if source else "",
            partial(drop, layer),
            drop_arguments(1.0, p=inspect.signature(layer).parameters["p"].default, input=0.0),
        )


_UNTIL = Argument(
    "until", 1.0, "fraction of the budget after which the rates are 0", 1e-6, 1, tune=(0.3, 1.0)
)

UNITS = (
    Method(
        "paper-dropout",
        "The 2014 paper's whole recipe: dropout, max-norm, and larger steps.",
        "Srivastava et al. 2014",
        _as_in_the_paper,
        (*drop_arguments(1.0), LIMIT, *STEPS),
    ),
    Method(
        "dropout",
        "Drop each unit with probability p in every update (Bernoulli).",
        "Srivastava et al. 2014",
        partial(drop, Dropout),
        drop_arguments(1.0),
    ),
    Method(
        "torch-dropout",
        "Dropout by torch's own layer, to compare times: the same method as dropout.",
        "Srivastava et al. 2014",
        partial(drop, nn.Dropout),
        drop_arguments(1.0),
    ),
    Method(
        "gaussian-dropout",
        "Multiply each unit by noise of mean 1 and variance p/(1 - p).",
        "Srivastava et al. 2014",
        partial(drop, GaussianDropout),
        drop_arguments(0.99),
    ),
    Method(
        "annealed-dropout",
        "Dropout whose rates decrease linearly to 0, so that the last updates train the whole "
        "network.",
        "Rennie et al. 2014",
        _annealed,
        (*drop_arguments(1.0), _UNTIL),
    ),
    Method(
        "thinned-dropout",
        "Annealed dropout with one mask per group of rows, so that dropped units are not computed.",
        "Graham et al. 2015",
        _thinned,
        (
            *drop_arguments(1.0),
            _UNTIL,
            Argument("groups", 1, "sub-networks in a mini-batch", 1, 1e6, whole=True),
        ),
    ),
    Method(
        "r-drop",
        "Dropout with alpha times the divergence between the outputs of two passes.",
        "Liang et al. 2021",
        _r_drop,
        (
            *drop_arguments(1.0),
            Argument("alpha", 1.0, "weight of the divergence", 0, tune=(0.1, 5), log=True),
        ),
    ),
    *variants(),
)
