"""Find the rule of a layer, and check the conditions of the rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from dropkit._drops import find_rates, is_dropout_layer, is_variant
from dropkit.analytic._rules import LAYERS
from dropkit.noise import Noise
from dropkit.noise._base import HoldsNoise

#: All noise layers of dropkit, and the variants that contain one.
NOISES: tuple[type, ...] = (Noise, HoldsNoise)
_DRAW = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def known(layer: nn.Module) -> Callable[..., Any] | None:
    """Return the rule of a layer's class; None if a subclass changes the forward pass."""
    kind = type(layer)
    for base in kind.__mro__:
        if base in LAYERS:
            same = all(
                getattr(kind, method, None) is getattr(base, method, None)
                for method in ("forward", "perturb")
            )
            return LAYERS[base] if same and not _is_patched(layer) else None
    return None


def _is_patched(layer: nn.Module) -> bool:
    """Whether an instance has its own ``forward``, except those of thinned training."""
    own = vars(layer).get("forward")
    return own is not None and not type(own).__module__.startswith("dropkit.")


def draws(layer: nn.Module) -> bool:
    return any(
        is_dropout_layer(module)
        or is_variant(module)
        or isinstance(module, _DRAW)
        or any(rate.get() > 0 for _, rate in find_rates(module))
        for module in layer.modules()
    )


def check_layer(layer: Any, who: str) -> None:
    check_hooks(layer, who)
    if isinstance(layer, nn.Softmax) and layer.dim is None:
        raise ValueError(f"{who} must have an explicit dimension; pass dim")
    if getattr(layer, "shared_dims", ()):
        raise ValueError(f"{who} shares its mask between units; only unitwise dropout has a rule")
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        raise ValueError(f"{who} must have padding_mode='zeros': copied units are not independent")
    if getattr(layer, "return_indices", False):
        raise ValueError(f"{who} must have return_indices=False: no single index is the largest")
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None:
        raise ValueError(f"{who} must have running statistics; set track_running_stats=True")


def check_hooks(layer: nn.Module, who: str) -> None:
    hooks = (*layer._forward_hooks.values(), *layer._forward_pre_hooks.values())
    # Hooks of dropkit do not change the output, except the hook that calls an inserted layer; this
    # layer is traced.
    if not all(getattr(hook, "__module__", "").startswith("dropkit.") for hook in hooks):
        raise ValueError(f"{who} has forward hooks, which cannot be traced; remove them")
