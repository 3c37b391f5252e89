"""Define the shared arguments of methods that drop units, and where their layers go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from dropkit.study.methods.method import Argument
from dropkit.study.methods.recipe import Recipe


def drop(layer: Callable[[float], nn.Module], recipe: Recipe, *, p: float, input: float) -> Recipe:
    """Put layers with rate ``p`` after hidden activations, and one with rate ``input`` first."""
    return replace(
        recipe,
        hidden=(*recipe.hidden, *([partial(layer, p)] if p else [])),
        inputs=(*recipe.inputs, *([partial(layer, input)] if input else [])),
    )


def drop_arguments(high: float, p: float = 0.5, input: float = 0.2) -> tuple[Argument, ...]:
    """Return the arguments of `drop`; ``high`` is the largest allowed rate."""
    return (
        Argument("p", p, "probability of dropping a hidden unit", 0, high, tune=(0.1, 0.7)),
        Argument("input", input, "probability of dropping an input", 0, high, tune=(0.0, 0.4)),
    )
