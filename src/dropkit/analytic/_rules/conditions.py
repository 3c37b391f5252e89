"""Which layers have a rule, and what must hold of them for it to be true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropkit._graph import AFTER
from dropkit.analytic._rules import LAYERS
from dropkit.noise import Noise


def known(layer: nn.Module) -> Callable[..., Any] | None:
    """The rule of a layer's class, unless a subclass has changed what it does."""
    kind = type(layer)
    for base in kind.__mro__:
        if base in LAYERS:
            same = all(
                getattr(kind, method, None) is getattr(base, method, None)
                for method in ("forward", "perturb")
            )
            return LAYERS[base] if same else None
    return None


def draws(layer: nn.Module) -> bool:
    return any(
        isinstance(module, Noise | _DropoutNd)
        or (isinstance(rate := getattr(module, "dropout", 0), int | float) and rate > 0)
        for module in layer.modules()
    )


def check_layer(layer: Any, who: str) -> None:
    check_hooks(layer, who)
    if getattr(layer, "shared_dims", ()):
        raise ValueError(f"{who} shares its mask between units; only unitwise dropout has a rule")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise ValueError(f"{who} must have padding_mode='zeros': copied units are not independent")
    if getattr(layer, "return_indices", False):
        raise ValueError(f"{who} must have return_indices=False: no single index is the largest")
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
        raise ValueError(f"{who} must have running statistics; set track_running_stats=True")


def check_hooks(layer: nn.Module, who: str) -> None:
    others = len(layer._forward_hooks) - (AFTER in layer._modules)
    if others or layer._forward_pre_hooks:
        raise ValueError(f"{who} has forward hooks, which cannot be followed; remove them")
