"""What methods of dropping units share: their arguments, and where their layers stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from dropkit.study.methods.method import Argument
from dropkit.study.methods.recipe import Recipe


def drop(layer: Callable[[float], nn.Module], recipe: Recipe, *, p: float, input: float) -> Recipe:
    """Put a layer of rate ``p`` behind hidden activations and one of rate ``input`` in front."""
    return replace(
        recipe,
        hidden=(*recipe.hidden, *([partial(layer, p)] if p else [])),
        inputs=(*recipe.inputs, *([partial(layer, input)] if input else [])),
    )


def drop_arguments(high: float, p: float = 0.5, input: float = 0.2) -> tuple[Argument, ...]:
    """The arguments of `drop`; ``high`` is the largest rate that is allowed."""
    return (
        Argument("p", p, "probability of dropping a hidden unit", 0, high, tune=(0.1, 0.7)),
        Argument("input", input, "probability of dropping an input", 0, high, tune=(0.0, 0.4)),
    )
