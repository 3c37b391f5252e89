"""Find dropout in a model: layers, rates inside other modules, and rates that cannot be set."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from dropkit._dropout_source import find_distant_layers_read
from dropkit._drops import (
    Rate,
    find_bound_layers,
    find_fixed_rate,
    find_idle_rate,
    find_rates,
    has_settable_rate,
    is_dropout_layer,
    looks_like_dropout,
)


def dropout_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List the dropout layers of torch and dropkit in a model, each once, with its name.

    >>> dropout_layers(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    [('1', Dropout(p=0.5, inplace=False))]
    """
    return [(name, module) for name, module in model.named_modules() if is_dropout_layer(module)]


def foreign_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of other packages whose name looks like dropout and that have a rate."""
    return {
        name: module
        for name, module in model.named_modules()
        if looks_like_dropout(module) and any(find_rates(module))
    }


def bound_layers(model: nn.Module) -> dict[nn.Module, str]:
    """Return the dropout layers that must stay because their parent needs them, with the reason."""
    bound = {
        child: reason for module in model.modules() for child, reason in find_bound_layers(module)
    }
    kinds: list[Any] = [type(module) for module in model.modules()]
    distant = {end: kind.__name__ for kind in kinds for end in find_distant_layers_read(kind)}
    for name, layer in dropout_layers(model):
        for end, reader in distant.items():
            if f".{name}".endswith(f".{end}"):
                bound.setdefault(layer, f"{reader} reads its p")
    return bound


def layer_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates of the dropout layers, under the names of the layers."""
    return {
        name: Rate(module, "p", module)
        for name, module in _named_modules(model)
        if is_dropout_layer(module) and hasattr(module, "p")
    }


def number_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates that are numbers inside modules, such as ``lstm.dropout``, by name.

    If several modules share the object that holds the number, such as a configuration, the name
    contains the first module.
    """
    found: dict[str, Rate] = {}
    known: set[tuple[int, str]] = set()
    for name, module in _named_modules(model):
        for path, rate in find_rates(module):
            if (id(rate.owner), rate.attribute) not in known:
                known.add((id(rate.owner), rate.attribute))
                found[_join(name, path)] = rate
    return found


def fixed_rates(model: nn.Module) -> dict[str, str]:
    """Return the modules with dropout whose rate cannot be set, with the reason."""
    fixed = {}
    for name, module in _named_modules(model):
        if is_dropout_layer(module):
            if not hasattr(module, "p"):
                fixed[name] = f"{type(module).__name__} has no rate p"
            elif not has_settable_rate(module):
                fixed[name] = f"the rate of {type(module).__name__} cannot be set"
        elif reason := find_idle_rate(module):
            fixed[_join(name, "dropout")] = reason
    return fixed | find_unrated(model)


def find_unrated(model: nn.Module) -> dict[str, str]:
    """Return the modules whose rate is a constant in their code, or learned, with the reason."""
    reasons = {name: find_fixed_rate(module) for name, module in _named_modules(model)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def settable_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates of layers and numbers that can be set."""
    layers = {n: rate for n, rate in layer_rates(model).items() if has_settable_rate(rate.module)}
    return layers | number_rates(model)


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules with the names that they had before ``torch.compile``."""
    for name, module in model.named_modules():
        yield ".".join(part for part in name.split(".") if part != "_orig_mod"), module


def _join(name: str, attribute: str) -> str:
    return f"{name}.{attribute}" if name else attribute
