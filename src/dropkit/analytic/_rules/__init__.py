"""Rules that compute the mean and variance of the output of each layer and function."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from dropkit.analytic._rules import activations, affine, pooling
from dropkit.analytic._rules._softmax import cross_entropy, softmax
from dropkit.analytic._rules.correlated import correlated_softmax
from dropkit.analytic._rules.gaussian import Gaussian, Joint
from dropkit.noise import Dropout, GaussianDropout

__all__ = [
    "ASKS", "CALM", "FUNCTIONS", "LAYERS", "POINTWISE", "POINTWISE_LAYERS", "SHAPES",
    "Gaussian", "Joint", "correlated_softmax", "cross_entropy", "softmax",
]  # fmt: skip

Rule = Callable[..., Gaussian]


def _drop(layer: Any, x: Gaussian) -> Gaussian:
    return affine.multiply(x, float(layer.p))


def _softmax(layer: Any, x: Gaussian) -> Gaussian:
    return softmax(x, layer.dim)


def _flatten(layer: Any, x: Gaussian) -> Gaussian:
    return Gaussian(layer(x.mean), layer(x.variance))


def _average(dims: int, layer: Any, x: Gaussian) -> Gaussian:
    more = () if dims == 1 else (layer.divisor_override,)
    return pooling.average_pool(
        dims, x, layer.kernel_size, layer.stride, layer.padding,
        layer.ceil_mode, layer.count_include_pad, *more,
    )  # fmt: skip


def _adaptive(dims: int, layer: Any, x: Gaussian) -> Gaussian:
    return pooling.adaptive_average_pool(dims, x, layer.output_size)


def _largest(dims: int, layer: Any, x: Gaussian) -> Gaussian:
    return pooling.max_pool(
        dims, x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode
    )


def _by_dims(rule: Rule, *layers: type[nn.Module]) -> dict[type[nn.Module], Rule]:
    return {layer: partial(rule, dims) for dims, layer in enumerate(layers, 1)}


LAYERS: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Dropout, Dropout, GaussianDropout), _drop),
    **dict.fromkeys((nn.Identity, nn.Sequential), lambda layer, x: x),  # only an empty Sequential
    nn.Linear: lambda layer, x: affine.linear(x, layer.weight, layer.bias),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), affine.convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), affine.batch_norm),
    nn.ReLU: lambda layer, x: activations.relu(x),
    nn.GELU: lambda layer, x: activations.gelu(x, layer.approximate),
    nn.Sigmoid: lambda layer, x: activations.sigmoid(x),
    nn.Tanh: lambda layer, x: activations.tanh(x),
    nn.Softmax: _softmax,
    nn.Flatten: _flatten,
    nn.Unflatten: _flatten,
    **_by_dims(_average, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    **_by_dims(_adaptive, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    **_by_dims(_largest, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
}

#: Functions and methods of tensors, by name.
FUNCTIONS: dict[str, Rule] = {
    "dropout": lambda x, p=0.5, training=True, inplace=False: (
        affine.multiply(x, p) if training else x
    ),
    "linear": affine.linear,
    "add": affine.add,
    "sub": affine.sub,
    "mul": affine.mul,
    "truediv": affine.truediv,
    "div": affine.truediv,
    "neg": affine.neg,
    "sum": affine.total,
    "mean": affine.mean,
    "relu": lambda x, inplace=False: activations.relu(x),
    "gelu": activations.gelu,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "softmax": lambda x, dim, **_: softmax(x, dim),
    **{f"avg_pool{d}d": partial(pooling.average_pool, d) for d in (1, 2, 3)},
    **{f"adaptive_avg_pool{d}d": partial(pooling.adaptive_average_pool, d) for d in (1, 2, 3)},
    **{f"max_pool{d}d": partial(pooling.max_pool, d) for d in (1, 2, 3)},
}

#: Functions that act on each unit separately.
POINTWISE = frozenset({"relu", "gelu", "sigmoid", "tanh"})
POINTWISE_LAYERS = (nn.ReLU, nn.GELU, nn.Sigmoid, nn.Tanh)

#: Functions that move units without changing their values.
SHAPES = frozenset({
    "flatten", "unflatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze",
    "contiguous", "movedim", "getitem", "narrow", "select", "cat", "concat", "stack", "T", "mT",
})  # fmt: skip

#: Attributes and methods that give the same result for a `Gaussian` and its mean.
ASKS = frozenset({"size", "dim", "numel", "shape", "ndim", "dtype", "device"})

#: Other functions without random draws, allowed before the first dropout.
CALM = frozenset({
    "add", "sub", "floordiv", "mod", "pow", "matmul", "bmm", "einsum", "abs", "exp", "log", "sqrt",
    "clamp", "expand", "repeat", "chunk", "split", "unbind", "float", "to", "type_as", "where",
    "layer_norm", "group_norm", "normalize", "embedding", "conv1d", "conv2d", "conv3d", "silu",
    "leaky_relu", "elu", "softplus", "log_softmax", "arange", "zeros", "ones", "zeros_like",
})  # fmt: skip
