"""What methods of dropping units share: their arguments, and how they pace the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from dropkit.study.methods.method import Argument
from dropkit.study.methods.recipe import Recipe


def paced(recipe: Recipe, lr: float, momentum: float) -> Recipe:
    """Train with a multiple of the plain learning rate, and with at least this momentum."""
    return replace(
        recipe,
        lr=recipe.lr * lr,
        momentum=max(recipe.momentum, momentum),
        warm_up=recipe.warm_up or momentum > recipe.momentum,
    )


def drop(
    layer: Callable[[float], nn.Module],
    recipe: Recipe,
    *,
    p: float,
    input: float,
    lr: float,
    momentum: float,
) -> Recipe:
    """Put a layer of rate ``p`` behind hidden activations and one of rate ``input`` in front."""
    return replace(
        paced(recipe, lr, momentum),
        hidden=(*recipe.hidden, *([partial(layer, p)] if p else [])),
        inputs=(*recipe.inputs, *([partial(layer, input)] if input else [])),
    )


def pace(lr: float = 2.0, momentum: float = 0.95) -> tuple[Argument, Argument]:
    """The arguments of `paced`, with these defaults."""
    return (
        Argument("lr", lr, "learning rate as a multiple of the plain one", 1e-6),
        Argument(
            "momentum",
            momentum,
            "final momentum; above the plain 0.9 it rises from 0.5",
            0,
            0.9999,
        ),
    )


def drop_arguments(
    high: float, p: float = 0.5, input: float = 0.2, *, lr: float = 2.0, momentum: float = 0.95
) -> tuple[Argument, ...]:
    """The arguments of `drop`; ``high`` is the largest rate that is allowed."""
    return (
        Argument("p", p, "probability of dropping a hidden unit", 0, high, tune=(0.1, 0.7)),
        Argument("input", input, "probability of dropping an input", 0, high, tune=(0.0, 0.4)),
        *pace(lr, momentum),
    )
