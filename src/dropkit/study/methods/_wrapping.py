"""Define the methods that replace layers by modules that wrap them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.noise import (
    ConcreteDropout,
    DropConnect,
    Standout,
    TargetedDropout,
    kl_divergence,
)
from dropkit.study.methods.method import Argument, Method
from dropkit.study.methods.recipe import Recipe

_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def _wrap(
    kinds: tuple[type[nn.Module], ...],
    layer: Callable[..., nn.Module],
    recipe: Recipe,
    **arguments: float,
) -> Recipe:
    if any(other == kinds for other, _ in recipe.wrappers):
        raise StudyError(
            f"two methods that wrap {', '.join(kind.__name__ for kind in kinds)} layers cannot be "
            "applied together; name one of them"
        )
    wrapper = kinds, partial(layer, **arguments)
    return replace(recipe, wrappers=(*recipe.wrappers, wrapper))


def _divergence(model: nn.Module, rows: int) -> Tensor:
    return kl_divergence(model) / rows


def _learned(layer: Callable[..., nn.Module], recipe: Recipe, **arguments: float) -> Recipe:
    recipe = _wrap(_AFFINE, layer, recipe, **arguments)
    return replace(recipe, penalties=(*recipe.penalties, _divergence))


WRAPPING = (
    Method(
        "drop-connect",
        "Drop each weight of every linear and convolutional layer with probability p.",
        "Wan et al. 2013",
        partial(_wrap, _AFFINE, DropConnect),
        (Argument("p", 0.5, "probability of dropping a weight", 0, 1, tune=(0.1, 0.7)),),
    ),
    Method(
        "targeted-dropout",
        "Drop the fraction gamma of weights with the smallest magnitude, with probability p.",
        "Gomez et al. 2019",
        partial(_wrap, _AFFINE, TargetedDropout),
        (
            Argument("p", 0.5, "probability of dropping such a weight", 0, 1, tune=(0.1, 0.9)),
            Argument("gamma", 0.5, "share of the weights", 0, 1, tune=(0.1, 0.9)),
        ),
    ),
    Method(
        "concrete-dropout",
        "Drop the inputs of every layer at a rate that is learned.",
        "Gal et al. 2017",
        partial(_learned, ConcreteDropout),
        (
            Argument("p", 0.1, "probability of dropping at the start", 1e-4, 0.9999),
            Argument(
                "length_scale", 0.01, "of the prior of weights", 1e-6, tune=(1e-3, 1), log=True
            ),
        ),
    ),
    Method(
        "standout",
        "Keep each unit with probability sigmoid(alpha * input + beta).",
        "Ba and Frey 2013",
        partial(_wrap, _ACTIVATIONS, Standout),
        (
            Argument("alpha", 1.0, "slope", -100, 100, tune=(0.0, 4.0)),
            Argument("beta", 0.0, "offset; higher keeps more", -100, 100, tune=(-2.0, 4.0)),
        ),
    ),
)
