"""Convert models between the two scaling conventions of dropout.

Let the mask m ∈ {0, 1} drop a unit x with probability p and keep it with q = 1 - p. The next layer
has bias b and the weights W (inverted convention) or C (classic convention).

============  ====================  ===================
convention    in training           at test
============  ====================  ===================
inverted      ``W (x ⊙ m / q) + b``  ``W x + b``
classic       ``C (x ⊙ m) + b``      ``(q C) x + b``
============  ====================  ===================

If ``C = W / q``, both conventions compute the same function, in training and at test. PyTorch and
this package use the inverted convention. Srivastava et al. (2014) use the classic convention: they
train without scaling, and multiply the outgoing weights by the *keep* probability at test.
"""

import math
from collections import Counter
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from dropkit._graph import trace
from dropkit.noise import Dropout, Dropout1d, Dropout2d, Dropout3d
from dropkit.noise._base import HoldsNoise

__all__ = ["ClassicDropout", "from_classic", "to_classic"]

_INVERTED = (
    Dropout, Dropout1d, Dropout2d, Dropout3d,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
_CONSUMERS = (nn.Linear, _ConvNd)

_DROPOUT_CALLS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"}
_ATTENTION = "scaled_dot_product_attention"

# Functions with f(q·x) = q·f(x) for q > 0: the factor q passes through to the next layer.
_HOMOGENEOUS_LAYERS = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.ReLU, nn.LeakyReLU, nn.PReLU,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
)  # fmt: skip
_HOMOGENEOUS_CALLS = {
    "relu", "leaky_relu", "flatten", "unflatten", "reshape", "view", "permute", "transpose",
    "squeeze", "unsqueeze", "contiguous", "mean", "max_pool1d", "max_pool2d", "max_pool3d",
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "T", "mT", "H", "mH",
}  # fmt: skip
_NOT_TENSORS = {"size", "dim", "shape", "ndim", "dtype", "device"}


class ClassicDropout(nn.Module, HoldsNoise):
    """Dropout in the classic convention: zeros in training, the factor q at test time.

    ``y = x ⊙ m`` in training, ``y = q · x`` at test time. Here q = 1 − p is the keep probability,
    and each element of m is 1 with probability q, otherwise 0. Multiplying x by q has the same
    effect as multiplying the weights of the next layer by q.

    Args:
        inverted: the inverted dropout layer to replace. With the same seed, the new layer drops the
            same units as the inverted one.

    >>> layer = ClassicDropout(nn.Dropout(0.2)).eval()
    >>> layer(torch.ones(3))
    tensor([0.8000, 0.8000, 0.8000])
    """

    weights_follow_rate = True

    def __init__(self, inverted: nn.Module) -> None:
        super().__init__()
        self.inverted = inverted
        self.training = inverted.training

    @property
    def keep_prob(self) -> float:
        """The probability of keeping a unit, q = 1 - p."""
        return 1.0 - float(self.inverted.p)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of ``x`` in training, or multiply ``x`` by q in evaluation; any shape."""
        if not self.training:
            return x * self.keep_prob
        return torch.where(self.inverted(torch.ones_like(x)) != 0, x, 0.0)


def to_classic(model: nn.Module) -> nn.Module:
    """Return a copy of a model in the classic convention, which computes the same function.

    The weight W after a dropout layer becomes ``C = W / q``, where q = 1 − p is the keep
    probability. Each dropout layer becomes a `ClassicDropout`.

    The scaled weight belongs to the linear or convolutional layer that gets the output of the
    dropout layer. The bias of this layer is not scaled. Between the two layers, operations that
    commute with a positive factor are allowed: ReLU, pooling, reshaping. If several dropout layers
    precede one weight, q is the product of their keep probabilities.

    Args:
        model: a module with ``Dropout`` or ``Dropout1d``–``3d`` layers, torch's or dropkit's, with
            p below 1. The forward pass is traced symbolically; the model does not run.

    Returns:
        A copy. Weights keep their names. So you can load a checkpoint of classic weights into
        ``to_classic(net)``, and convert this module with ``from_classic``.

    Raises:
        ValueError: if the model has no such dropout or calls ``F.dropout``; if p = 1; if the
            forward pass cannot be traced; if a weight overflows; if the weight is tied to another
            layer; if the units reach something else before the weight: a sum with undropped units,
            a sigmoid, a normalization, a recurrent layer or the model's output.

    `from_classic` restores the weights up to rounding: W / q · q.

    With p = 0.5, a weight of 0.25 becomes the classic weight 0.5, and the weight at test time is
    0.5 · 0.5 = 0.25:

    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1, bias=False))
    >>> _ = nn.init.constant_(net[1].weight, 0.25)
    >>> to_classic(net)[1].weight.data
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    >>> from_classic(to_classic(net))[1].weight.data
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    p = 0.2 shows that the factor is q, not p: multiplying by q = 0.8 restores the weight 0.25, but
    multiplying by p = 0.2 would give 0.0625.

    >>> net[0].p = 0.2
    >>> weight = to_classic(net)[1].weight.data
    >>> weight, 0.8 * weight, 0.2 * weight
    (tensor([[0.3125, 0.3125, 0.3125, 0.3125]]),
     tensor([[0.2500, 0.2500, 0.2500, 0.2500]]),
     tensor([[0.0625, 0.0625, 0.0625, 0.0625]]))

    Reference: Srivastava et al. (2014), section 10.
    """
    model = deepcopy(model)
    for name, dropped_by in _consumers(model, _INVERTED).items():
        layer: Any = model.get_submodule(name)
        layers: list[Any] = [model.get_submodule(dropout) for dropout in dropped_by]
        keep = math.prod([1.0 - float(dropout.p) for dropout in layers])
        if keep == 0.0:
            raise ValueError(
                f"p must be below 1 before {name}: the classic weight would be infinite"
            )
        classic = _scale_weight(layer.weight.data, 1.0 / keep)
        if not torch.equal(classic.isfinite(), layer.weight.isfinite()):
            raise ValueError(f"{name}.weight / {keep} must be finite in {classic.dtype}")
        layer.weight.data.copy_(classic)
    return _exchange(model, _INVERTED, ClassicDropout)


def from_classic(model: nn.Module) -> nn.Module:
    """Return a copy of a model in the inverted convention, which computes the same function.

    ``W = q · C`` for the weight after each dropout layer: the classic test weights.

    Args:
        model: a module with `ClassicDropout` layers, as `to_classic` returns it. You may train this
            model or load other weights before.

    Returns:
        A copy with inverted dropout layers. Weights keep their names.

    Raises:
        ValueError: if the model has no `ClassicDropout`.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.3), nn.Linear(4, 2))
    >>> back = from_classic(to_classic(net))
    >>> all(torch.allclose(a, b) for a, b in zip(net.parameters(), back.parameters()))
    True
    """
    model = deepcopy(model)
    for name, dropped_by in _consumers(model, (ClassicDropout,)).items():
        layer: Any = model.get_submodule(name)
        layers: list[Any] = [model.get_submodule(dropout) for dropout in dropped_by]
        keep = math.prod([float(dropout.keep_prob) for dropout in layers])
        layer.weight.data.copy_(_scale_weight(layer.weight.data, keep))
    return _exchange(model, (ClassicDropout,), lambda layer: layer.inverted)


def _scale_weight(weight: Tensor, factor: float) -> Tensor:
    """Multiply a weight in float32 or wider, so that the result is rounded only once."""
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    return (wide * factor).to(weight.dtype)


def _exchange(model: nn.Module, kinds: tuple[type[nn.Module], ...], make: Any) -> nn.Module:
    new: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, kinds):
                if child not in new:
                    new[child] = make(child)
                parent.add_module(name, new[child])
    return model


def _consumers(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, tuple[str, ...]]:
    """Map the name of each layer that consumes dropped units to the dropout layers before it."""
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout:
            what = f"{name or 'the model'}: dropout inside {type(module).__name__}"
            raise ValueError(
                f"{what} cannot be converted; set its rate to 0, or use dropout layers"
            )
    calls = trace(model, (ClassicDropout, *_CONSUMERS))
    names = {module: name for name, module in model.named_modules()}
    # For each value, the dropout layers whose factor the value contains; None if the value is not a
    # tensor.
    carried: dict[fx.Node, tuple[str, ...] | None] = {}
    consumers: dict[str, tuple[str, ...]] = {}
    met: set[nn.Module] = set()
    for node in calls.nodes:
        _check_function(node)
        inputs = {c for n in node.all_input_nodes if (c := carried[n]) is not None}
        module = model.get_submodule(node.target) if node.op == "call_module" else None
        factor = inputs.pop() if len(inputs) == 1 else ()
        if _name_call(node) in _NOT_TENSORS or _is_of_sizes(node, carried):
            carried[node] = None
        elif module is not None and isinstance(module, kinds):
            met.add(module)
            carried[node] = (*factor, names[module])
        elif isinstance(module, _CONSUMERS):
            name = names[module]
            if consumers.setdefault(name, factor) != factor:
                raise ValueError(
                    f"{name} must always follow the same dropout, but it is called twice"
                )
            carried[node] = ()
        elif not inputs and (not factor or _is_homogeneous(node, module)):
            carried[node] = factor
        else:
            what = names[module] if module is not None else _name_call(node)
            raise ValueError(
                f"the output of {_names(factor, *inputs)} must go to a linear or convolutional "
                f"layer, but it goes to {what!r}, which cannot absorb the factor"
            )
    consumers = {name: factor for name, factor in consumers.items() if factor}
    _check(model, kinds, met, consumers)
    return consumers


def _check_function(node: fx.Node) -> None:
    """Raise if a node drops by a function, which cannot become a ``ClassicDropout``."""
    name = _name_call(node) if node.op == "call_function" else ""
    rates = [node.kwargs.get("p", node.kwargs.get("dropout_p")), *node.args[1:2]]
    if (name in _DROPOUT_CALLS and any(rates)) or (name == _ATTENTION and rates[0]):
        raise ValueError(f"dropout by a call of {name} cannot be converted; use dropout layers")


def _is_of_sizes(node: fx.Node, carried: dict[fx.Node, tuple[str, ...] | None]) -> bool:
    """Whether a node computes with tensor sizes, or selects one of these sizes."""
    sources = node.all_input_nodes
    operator = node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator"
    return operator and bool(sources) and all(carried[source] is None for source in sources)


def _is_homogeneous(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        return isinstance(module, _HOMOGENEOUS_LAYERS)
    return node.op in ("call_function", "call_method") and _name_call(node) in _HOMOGENEOUS_CALLS


def _name_call(node: fx.Node) -> str:
    """Return the name of the function that a node calls, or of the attribute that it reads."""
    name = str(getattr(node.target, "__name__", node.target))
    return str(node.args[1]) if name == "getattr" else name


def _names(*factors: tuple[str, ...]) -> str:
    return " and ".join(repr(name) for factor in factors for name in factor)


def _check(
    model: nn.Module,
    kinds: tuple[type[nn.Module], ...],
    met: set[nn.Module],
    consumers: dict[str, tuple[str, ...]],
) -> None:
    """Raise unless every dropout layer is called and every scaled weight has one user."""
    for name, module in model.named_modules():
        if isinstance(module, kinds) and module not in met:
            raise ValueError(f"{name} must be called in the forward pass, by itself")
    if not met:
        known = ", ".join(dict.fromkeys(kind.__name__ for kind in kinds))
        raise ValueError(f"{type(model).__name__} must hold one of {known}")
    users = Counter(p for module in model.modules() for p in module._parameters.values())
    for name in consumers:
        if "weight" not in (layer := model.get_submodule(name))._parameters:
            raise ValueError(f"{name}.weight must be a parameter, but is computed from others")
        if users[layer._parameters["weight"]] > 1:
            raise ValueError(f"{name}.weight must have one user, but it is tied to another layer")
