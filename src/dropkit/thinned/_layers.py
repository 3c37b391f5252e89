"""Classify layers and functions: pointwise, homogeneous, pooling, or a matrix product."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd

from dropkit._graph import is_seen
from dropkit.noise import Dropout, Dropout1d, Dropout2d, Dropout3d

# Compare exact types, here and below, because a subclass may change the forward pass.
_CONVOLUTIONS: dict[type[nn.Module], int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
_CHANNEL_DROPOUT: dict[type[nn.Module], int] = {
    nn.Dropout1d: 1, nn.Dropout2d: 2, nn.Dropout3d: 3, Dropout1d: 1, Dropout2d: 2, Dropout3d: 3,
}  # fmt: skip
DROPOUT = (nn.Dropout, Dropout, *_CHANNEL_DROPOUT)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

# Elementwise functions with f(s·x) = s·f(x) for s > 0, which commute with dropout.
_HOMOGENEOUS_LAYERS = {nn.Identity, nn.LeakyReLU, nn.ReLU}
_HOMOGENEOUS_CALLS = {F.leaky_relu, F.relu, torch.relu}
_HOMOGENEOUS_METHODS = {"contiguous", "relu"}
# Other elementwise functions, which are allowed before dropout only.
_POINTWISE_LAYERS = {
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LogSigmoid, nn.Mish, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink,
    nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
}  # fmt: skip
_POINTWISE_CALLS = {
    F.celu, F.elu, F.gelu, F.hardsigmoid, F.hardswish, F.hardtanh, F.logsigmoid, F.mish, F.relu6,
    F.selu, F.sigmoid, F.silu, F.softplus, F.softsign, F.tanh, F.tanhshrink, F.threshold,
    torch.celu, torch.selu, torch.sigmoid, torch.tanh,
}  # fmt: skip
_POINTWISE_METHODS = {"sigmoid", "tanh"}
# Functions that act on each channel separately, with f(s·x) = s·f(x) for s > 0.
_POOL_LAYERS: dict[type[nn.Module], int] = {
    nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1, nn.AdaptiveMaxPool2d: 2, nn.AdaptiveMaxPool3d: 3,
    nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3,
    nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3,
}  # fmt: skip
_POOL_CALLS: dict[Any, int] = {
    F.adaptive_avg_pool1d: 1, F.adaptive_avg_pool2d: 2, F.adaptive_avg_pool3d: 3,
    F.adaptive_max_pool1d: 1, F.adaptive_max_pool2d: 2, F.adaptive_max_pool3d: 3,
    F.avg_pool1d: 1, F.avg_pool2d: 2, F.avg_pool3d: 3,
    F.max_pool1d: 1, F.max_pool2d: 2, F.max_pool3d: 3,
}  # fmt: skip


def dropped_dims(layer: nn.Module) -> int | None:
    """Return how many trailing dimensions share a mask value; None for layers without dropout."""
    if type(layer) is nn.Dropout:
        return 0
    if type(layer) is Dropout:
        shared = layer.shared_dims
        return len(shared) if sorted(shared) == list(range(-len(shared), 0)) else None
    return _CHANNEL_DROPOUT.get(type(layer))


def product_dims(layer: nn.Module | None) -> int | None:
    """Return the number of spatial dimensions of a linear or convolutional layer, or None."""
    if type(layer) is nn.Linear:
        return 0
    # In grouped convolutions, an output channel only depends on some input channels.
    kind = _CONVOLUTIONS.get(type(layer)) if layer is not None else None
    return kind if getattr(layer, "groups", 1) == 1 else None


def sizes(product: nn.Module) -> tuple[int, int]:
    """Return the numbers of input and output units of a product."""
    if isinstance(product, nn.Linear):
        return product.in_features, product.out_features
    assert isinstance(product, _ConvNd)
    return product.in_channels, product.out_channels


def is_pointwise(node: fx.Node, module: nn.Module | None, after: bool) -> bool:
    """Whether a call is elementwise and, if ``after`` dropout, commutes with its factor."""
    if module is not None:
        scalar = type(module) is nn.PReLU and module.num_parameters == 1
        # why_not excludes hooks, because they would only see the kept units.
        fits = scalar or type(module) in _HOMOGENEOUS_LAYERS
        fits = fits or (not after and type(module) in _POINTWISE_LAYERS)
        return fits and why_not(module) is None
    if len(node.all_input_nodes) != 1:
        return False
    called = node.target
    if node.op == "call_function":
        return called in _HOMOGENEOUS_CALLS or (not after and called in _POINTWISE_CALLS)
    method = node.op == "call_method"
    return method and (
        called in _HOMOGENEOUS_METHODS or (not after and called in _POINTWISE_METHODS)
    )


def pool_dims(node: fx.Node, module: nn.Module | None) -> int | None:
    """Return over how many dimensions a call pools each channel; None if the call is no pooling."""
    if module is not None:
        return _POOL_LAYERS.get(type(module)) if why_not(module) is None else None
    return _POOL_CALLS.get(node.target) if node.op == "call_function" else None


def is_flatten(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a call flattens all dimensions except the batch."""
    if module is not None:
        whole = (getattr(module, "start_dim", None), getattr(module, "end_dim", None)) == (1, -1)
        return type(module) is nn.Flatten and whole and why_not(module) is None
    called = node.target in (torch.flatten, "flatten")
    return called and (node.args[1:], node.kwargs) in [((1,), {}), ((), {"start_dim": 1})]


def why_not(module: nn.Module) -> str | None:
    """Return why the forward pass of a module cannot be replaced; None if it can."""
    if is_seen(module):
        return "has hooks, which would only see the kept units"
    if "forward" in module.__dict__:
        return "has its own forward pass, or is thinned already: call plan.undo first"
    return None
