"""Where a model drops: in layers, by numbers that other modules hold, by calls of functions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit._checks import check_probability
from dropkit.noise import Noise
from dropkit.surgery._source import dropout_calls, layers_read, names_read

_NUMBER = re.compile(
    r"drop(_?(out|path|connect|block))?(_?(p|prob|probability|rate|ratio))?$", re.IGNORECASE
)
_LAYER = re.compile(r"drop|stochastic_?depth", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Rate:
    """A probability of dropping: the module that holds it, and under which name."""

    owner: Any
    attribute: str

    def get(self) -> float:
        """Return the probability."""
        return float(getattr(self.owner, self.attribute))

    def set(self, p: float) -> None:
        """Set the probability, which takes effect at the next call of the model."""
        setattr(self.owner, self.attribute, check_probability(p))


def is_dropout(module: nn.Module | None) -> bool:
    """Whether it is a dropout layer of torch's or dropkit's."""
    return isinstance(module, _DropoutNd | Noise)


def dropout_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List the dropout layers of a model: torch's and dropkit's, each once, with its name.

    >>> dropout_layers(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    [('1', Dropout(p=0.5, inplace=False))]
    """
    return [(name, module) for name, module in model.named_modules() if is_dropout(module)]


def foreign_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that are named like dropout and hold a rate, but are of other packages."""
    return {
        name: module
        for name, module in model.named_modules()
        if _looks_like_dropout(module) and any(_numbers(module))
    }


def bound_layers(model: nn.Module) -> dict[nn.Module, str]:
    """Return the dropout layers that the module around them needs as they are, with the reason."""
    bound: dict[nn.Module, str] = {}
    for module in model.modules():
        kind: Any = type(module)
        for name, child in module._modules.items():
            if child is None or not is_dropout(child):
                continue
            if is_classic(module):
                bound[child] = "the weights go with its rate; convert with from_classic first"
            elif name == "drop" and is_variant(module):
                bound[child] = f"is part of {kind.__name__}"
            elif name in layers_read(kind):
                bound[child] = f"{kind.__name__} reads its p"
    return bound


def uncalled(model: nn.Module) -> set[str]:
    """Names of the projections that attention computes without calling them."""
    return {
        f"{name}.out_proj" if name else "out_proj"
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    }


def layer_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates of the dropout layers, under the names of the layers."""
    return {
        name: Rate(module, "p")
        for name, module in _named_modules(model)
        if is_dropout(module) and hasattr(module, "p")
    }


def number_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates that modules hold as numbers, under the names of the numbers."""
    return {
        f"{name}.{attribute}" if name else attribute: Rate(module, attribute)
        for name, module in _named_modules(model)
        for attribute in _numbers(module)
    }


def fixed_rates(model: nn.Module) -> dict[str, str]:
    """Return the places that drop, or seem to, at a rate which cannot be set, with the reason."""
    fixed = {}
    for name, module in _named_modules(model):
        if is_dropout(module):
            if not hasattr(module, "p"):
                fixed[name] = f"{type(module).__name__} has no rate p"
            elif not settable(module):
                fixed[name] = f"the rate of {type(module).__name__} cannot be set"
        elif isinstance(module, nn.RNNBase) and module.num_layers == 1 and module.dropout > 0:
            number = f"{name}.dropout" if name else "dropout"
            fixed[number] = "acts between layers, and there is only one"
    return fixed | unrated(model)


def unrated(model: nn.Module) -> dict[str, str]:
    """Return the modules that drop at a rate which nothing holds: in their code, or learned."""
    found = {}
    for name, module in _named_modules(model):
        kind: Any = type(module)
        if is_dropout(module):
            continue
        if is_variant(module):
            if not isinstance(module._modules.get("drop"), Noise):
                found[name] = f"{kind.__name__} has no rate p"
            continue
        held = {*_numbers(module), *(n for n, m in module._modules.items() if is_dropout(m))}
        calls = dict.fromkeys(call for call, passed in dropout_calls(kind) if not held & passed)
        if calls:
            found[name] = f"calls {', '.join(calls)} at a rate that stands in the code"
    return found


def settable_rates(model: nn.Module) -> dict[str, Rate]:
    """Return the rates of layers and numbers that can be set."""
    layers = {name: rate for name, rate in layer_rates(model).items() if settable(rate.owner)}
    return layers | number_rates(model)


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules under the names that they have without ``torch.compile``."""
    for name, module in model.named_modules():
        yield ".".join(part for part in name.split(".") if part != "_orig_mod"), module


def is_classic(module: nn.Module) -> bool:
    """Whether it is `scaling.ClassicDropout`."""
    return type(module).__module__ == "dropkit.scaling"


def is_variant(module: nn.Module) -> bool:
    """Whether it is a variant that is more than a noise; most hold one in ``drop``."""
    return not isinstance(module, Noise) and any(
        base.__module__.startswith("dropkit.noise.") and not base.__name__.startswith("_")
        for base in type(module).__mro__
    )


def settable(layer: nn.Module) -> bool:
    """Whether the rate ``p`` of a layer can be set: a learned one cannot."""
    p = getattr(type(layer), "p", None)
    if isinstance(p, property):
        return p.fset is not None
    return isinstance(vars(layer).get("p"), int | float)


def _numbers(module: nn.Module) -> Iterator[str]:
    """Yield the attributes of a module that are rates of dropout and that it uses."""
    if is_dropout(module):
        return
    if isinstance(module, nn.RNNBase):
        known = module.num_layers > 1
    else:
        known = isinstance(module, nn.MultiheadAttention)
    if known:
        yield "dropout"
    kind: Any = type(module)  # for mypy, a class of modules cannot be hashed
    for attribute, value in vars(module).items():
        named = _NUMBER.search(attribute) or (attribute == "p" and _looks_like_dropout(module))
        if (
            named
            and isinstance(value, float)
            and 0.0 <= value <= 1.0
            and attribute in names_read(kind)  # and not only passed on to a layer
        ):
            yield attribute


def _looks_like_dropout(module: nn.Module) -> bool:
    return (
        not is_dropout(module)
        and not module._modules
        and _LAYER.search(type(module).__name__) is not None
    )
