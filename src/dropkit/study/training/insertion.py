"""Insert a method's layers and wrappers into a network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from dropkit import surgery
from dropkit._drops import is_variant
from dropkit.errors import StudyError
from dropkit.study.methods.recipe import Recipe
from dropkit.study.training.feeding import Fed, OnFloats
from dropkit.surgery._insert import OR_AFTER
from dropkit.thinned import thin


def regularize(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Insert the recipe's layers into the network, in place of its dropout or after activations.

    If the network has dropout layers, the recipe's layers replace them; otherwise they follow the
    hidden activation modules. Other dropout of the network, for example between the layers of an
    LSTM, is removed, so that ``none`` has no dropout. Only ``as-is`` keeps it.
    """
    if recipe.keep_own and recipe.hidden:
        raise StudyError(
            "as-is keeps the model's own dropout, but the other method replaces it; use only one "
            "of them"
        )
    if not recipe.keep_own:
        model = _add_layers(model, recipe.hidden)
    for kinds, make in recipe.wrappers:
        model = _wrap_modules(model, kinds, make)
    if recipe.groups:
        try:
            model, _ = thin(model, recipe.groups, copy=False)
        except ValueError as error:
            raise StudyError(str(error)) from error
    return model


def with_input_layers(model: nn.Module, recipe: Recipe) -> nn.Sequential:
    """Put the recipe's layers before the network."""
    layers: nn.Module = nn.Sequential(*(make() for make in recipe.inputs))
    if isinstance(model, Fed):
        layers = OnFloats(layers)
    return nn.Sequential(OrderedDict(inputs=layers, model=model))


def _add_layers(model: nn.Module, makers: tuple[Callable[[], nn.Module], ...]) -> nn.Module:
    if not makers:
        try:
            return surgery.strip(model)[0]
        except ValueError:  # there is no activation module
            return model
    own = [name for name, _ in surgery.dropout_layers(model)]
    numbers = {name: 0.0 for name in surgery.rates(model) if name not in own}

    def layer() -> nn.Module:
        made = [make() for make in makers]
        return made[0] if len(made) == 1 else nn.Sequential(*made)

    try:
        model, _ = surgery.replace(model, layer) if own else surgery.insert(model, layer)
        return surgery.set_rates(model, numbers, copy=False)[0]
    except ValueError as error:
        reason = str(error).removesuffix(OR_AFTER)
        raise StudyError(f"cannot put dropout into the model: {reason}") from error


def has_own_dropout(model: nn.Module) -> bool:
    """Return whether a network contains dropout with a rate above 0."""
    return any(p > 0 for p in surgery.rates(model).values())


def _wrap_modules(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[Any], nn.Module]
) -> nn.Module:
    """Wrap every module of these kinds that is called; a shared module gets one wrapper."""
    for name, module in model.named_modules():
        if is_variant(module) and any(isinstance(inside, kinds) for inside in module.children()):
            kind = type(module).__name__
            raise StudyError(
                f"{name or 'the model'} is a {kind} already; give the plain layer, and the method "
                "wraps it"
            )
    if not any(isinstance(module, kinds) for module in model.modules()):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise StudyError(f"the model must hold a module to wrap, of {names}, but it has none")
    try:
        return surgery.wrap(model, make, kinds, copy=False)[0]
    except ValueError as error:
        raise StudyError(f"cannot regularize the model: {error}") from error
