"""Recognize dropout in a single module.

A module may be a dropout layer, be a variant that contains one, hold a rate as a number (in an
attribute, or in an object such as a configuration), or call dropout as a function in its code.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from dropkit._checks import check_probability
from dropkit._dropout_source import (
    classify_mode_reads,
    find_dropout_calls,
    find_layers_read,
    find_rates_passed,
    find_settings_read,
    is_named_like_dropout,
)
from dropkit._source import find_names_read, is_library
from dropkit.noise import Noise
from dropkit.noise._base import HoldsNoise

_RATE = re.compile(
    r"drop(_?(out|path|connect|block))?(_?(p|prob|probability|rate|ratio))?$", re.IGNORECASE
)
_SCRIPTED_CALL = re.compile(r"drop\w*\([^()]*\)", re.IGNORECASE)
_FLAG = re.compile(r"^_?(use|do|is|has|with|apply|enable)_", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Rate:
    """A dropout rate, stored in an attribute of an object.

    Attributes:
        owner: the module, or an object in the module such as a configuration.
        attribute: name of the attribute of the owner.
        module: the module that uses the rate.
    """

    owner: Any
    attribute: str
    module: Any

    def get(self) -> float:
        """Return the probability."""
        return float(getattr(self.owner, self.attribute))

    def set(self, p: float) -> None:
        """Set the probability, which takes effect at the next call of the model."""
        setattr(self.owner, self.attribute, check_probability(p))


def is_dropout_layer(module: object) -> bool:
    """Whether a module is a dropout layer of torch or dropkit."""
    return isinstance(module, _DropoutNd | Noise)


def is_variant(module: object) -> bool:
    """Whether a module is a dropkit variant that contains a noise layer, usually in ``drop``."""
    return isinstance(module, HoldsNoise) and not is_classic(module)


def is_classic(module: object) -> bool:
    """Whether a module uses the classic convention, in which weights depend on the rate."""
    return isinstance(module, HoldsNoise) and module.weights_follow_rate


def is_recurrent(module: object) -> bool:
    """Whether a module is a recurrent layer of torch, also a dynamically quantized one."""
    return isinstance(module, nn.RNNBase) or (
        isinstance(module, nn.Module)
        and not is_scripted(module)
        and hasattr(module, "_all_weight_values")  # torch.ao's layers have another base class
        and isinstance(getattr(module, "dropout", None), int | float)
    )


def is_scripted(module: object) -> bool:
    """Whether ``torch.jit`` compiled a module, which fixes its code and numbers."""
    return isinstance(module, torch.jit.ScriptModule)


def looks_like_dropout(module: nn.Module) -> bool:
    """Whether a module of another package, without children, is named like dropout."""
    return (
        not is_dropout_layer(module)
        and not is_scripted(module)
        and not module._modules
        and is_named_like_dropout(type(module).__name__)
    )


def find_rates(module: nn.Module) -> Iterator[tuple[str, Rate]]:
    """Yield the rates that are numbers in a module, with their names.

    A number counts if its name contains "drop" or if a call passes it to dropout, if it is in
    [0, 1], and if a method of the class other than the constructor reads it. The same holds for
    numbers in an object that the module holds, such as ``config.layerdrop``.
    """
    if is_dropout_layer(module) or is_scripted(module):
        return
    if acts_between_layers(module) or isinstance(module, nn.MultiheadAttention):
        yield "dropout", Rate(module, "dropout", module)
    kind: Any = type(module)  # mypy believes that a class of modules cannot be hashed
    for attribute, value in vars(module).items():
        named = _names_rate(attribute) or (attribute == "p" and looks_like_dropout(module))
        named = named or attribute in find_rates_passed(kind)
        if named and _is_rate(value) and attribute in find_names_read(kind):
            yield attribute, Rate(module, attribute, module)
    for holder, attribute in find_settings_read(kind):
        owner = vars(module).get(holder)
        if _names_rate(attribute) and _is_rate(getattr(owner, attribute, None)):
            yield f"{holder}.{attribute}", Rate(owner, attribute, module)


def acts_between_layers(module: nn.Module) -> bool:
    """Whether a module is a recurrent layer with two or more layers, so that its dropout acts."""
    return is_recurrent(module) and int(module.num_layers) > 1  # type: ignore[arg-type]


def find_idle_rate(module: nn.Module) -> str | None:
    """Return why the rate of a recurrent layer has no effect; None if it is 0 or effective."""
    if is_recurrent(module) and not acts_between_layers(module) and module.dropout:
        return "acts between layers, and there is only one"
    return None


def find_fixed_rate(module: nn.Module) -> str | None:
    """Return why a rate cannot be set (in the code, learned or compiled); None if it can."""
    kind: Any = type(module)
    if is_dropout_layer(module):
        return None
    if is_scripted(module):
        drops = _scripted_dropout(module) is not None
        return "is compiled by torch.jit, so its rate is fixed" if drops else None
    if is_variant(module):
        holds = isinstance(module._modules.get("drop"), Noise)
        return None if holds else f"{kind.__name__} has no rate p"
    held = {name for name, _ in find_rates(module)}
    held |= {name for name, child in module._modules.items() if is_dropout_layer(child)}
    calls = dict.fromkeys(call for call, passed in find_dropout_calls(kind) if not held & passed)
    calls |= {f"self.{name}": None for name, value in vars(module).items() if _drops(value)}
    if calls:
        return f"calls {', '.join(calls)} with a rate written in the code"
    if not held and not is_library(kind.__module__) and classify_mode_reads(kind) == "drops":
        return "drops at a rate that it does not store"
    return None


def _drops(value: Any) -> bool:
    """Whether an attribute is a function that drops, possibly with fixed arguments."""
    function = value.func if isinstance(value, partial) else value
    named = is_named_like_dropout(getattr(function, "__name__", ""))
    return named and isinstance(function, FunctionType)


def find_bound_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Yield the dropout layers that a module needs unchanged, each with the reason."""
    kind: Any = type(module)
    for name, child in module._modules.items():
        if child is None or not is_dropout_layer(child):
            continue
        if is_classic(module):
            yield child, "the weights go with its rate; convert with from_classic first"
        elif name == "drop" and is_variant(module):
            yield child, f"is part of {kind.__name__}"
        elif name in find_layers_read(kind):
            yield child, f"{kind.__name__} reads its p"


def has_settable_rate(layer: nn.Module) -> bool:
    """Whether the rate ``p`` of a layer can be set; learned rates cannot."""
    p = getattr(type(layer), "p", None)
    if isinstance(p, property):
        return p.fset is not None
    return isinstance(vars(layer).get("p"), int | float)


def drops_by_own_flag(module: nn.Module) -> bool | str:
    """Whether a module itself drops while its ``training`` is true; a reason if that is unknown."""
    if is_dropout_layer(module) or is_classic(module):
        return True
    if isinstance(module, nn.TransformerEncoderLayer):  # its fast path skips dropout
        return True
    if is_recurrent(module):
        return bool(module.dropout) and (find_idle_rate(module) is None or _idle(module))
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        return True
    if isinstance(module, _NormBase):
        return False
    if is_scripted(module):
        return _scripted_dropout(module) or False
    match classify_mode_reads(type(module)):  # type: ignore[arg-type]
        case "drops":
            return True
        case "other":
            return (
                "reads self.training, but not visibly for dropout; if it drops, use "
                "extra_modules=[...]"
            )
        case "unknown":
            return (
                "reads self.training, but its source is not available; if it drops, use "
                "extra_modules=[...]"
            )
        case _:
            return False


def _idle(module: nn.Module) -> str:
    return f"dropout={module.dropout} {find_idle_rate(module)}"


def _scripted_dropout(module: Any) -> bool | str | None:
    """Return True if a scripted module drops in training, a reason if always, None if never."""
    if getattr(module, "num_layers", 1) > 1 and getattr(module, "dropout", 0):
        return True
    try:
        calls = _SCRIPTED_CALL.findall(str(module.code))
    except RuntimeError:  # the module has no forward pass
        return None
    if any("training" in call for call in calls):
        return True
    always = any(re.search(r", True\b", call) for call in calls)
    return "drops in every mode, because torch.jit.trace recorded it" if always else None


def _names_rate(attribute: str) -> bool:
    return _RATE.search(attribute) is not None and _FLAG.search(attribute) is None


def _is_rate(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= 1
