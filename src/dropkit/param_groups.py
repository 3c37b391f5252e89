"""Split parameters into groups for an optimizer, with and without weight decay."""

import math
import re
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from dropkit.noise import Noise
from dropkit.noise._kl import LearnedNoise

__all__ = ["decay_groups"]


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer, with weight decay for weights only.

    These parameters have no decay:

    - biases: parameters named ``bias``, ``bias_…`` or ``…_bias``;
    - parameters with fewer than two dimensions, such as the scales of normalization layers,
    ``PReLU`` or layer scale;
    - all parameters of normalization layers: modules of any package whose class name ends in
    ``Norm``, ``Norm1d``, ``Norm2d`` or ``Norm3d``;
    - learned noise of dropout layers, such as the rate of ``ConcreteDropout`` or the variances of
    ``VariationalDropout``, because learned noise has its own regularizer.

    Embeddings count as weights.

    Args:
        model: any module; its parameters must be initialized.
        weight_decay: the coefficient for the weights, 0 or more.

    Returns:
        At most two groups: the group with decay, then the group without; an empty group is omitted.
        Every parameter appears once, including frozen and tied ones. Each group has the order of
        ``model.named_parameters()``.

    Raises:
        ValueError: if the model has no parameters, or has uninitialized parameters; if
            ``weight_decay`` is negative or not finite.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    >>> groups = decay_groups(net, 0.01)
    >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
    [(2, 0.01), (4, 0.0)]
    >>> optimizer = torch.optim.AdamW(groups, lr=1e-3)

    Reference: Loshchilov & Hutter, "Decoupled weight decay regularization" (2019), for the decay.
    The choice of parameters without decay is common practice and not part of that paper.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be a finite number, 0 or more, got {weight_decay}")
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter, owner in _owned_parameters(model):
        if is_lazy(parameter):
            raise ValueError(f"{name} must be initialized; run the model once first")
        (decayed if _is_weight(name, parameter, owner) else spared).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": float(weight_decay)},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError(f"{type(model).__name__} must have parameters, but has none")
    return groups


def _owned_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, nn.Module]]:
    """Yield each parameter once, with its name and the module that owns it."""
    owners = dict(model.named_modules(remove_duplicate=False))
    for name, parameter in model.named_parameters():
        yield name, parameter, owners[name.rpartition(".")[0]]


def _is_weight(name: str, parameter: nn.Parameter, owner: nn.Module) -> bool:
    last = name.rpartition(".")[2]
    is_bias = last == "bias" or last.startswith("bias_") or last.endswith("_bias")
    is_norm = re.search(r"Norm(\dd)?$", type(owner).__name__)
    is_noise = isinstance(owner, Noise | LearnedNoise)  # a variance or a rate
    return parameter.ndim >= 2 and not (is_bias or is_norm or is_noise)
