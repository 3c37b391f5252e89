"""Convert models between the two conventions of scaling for dropout.

Let a unit be dropped with probability p and kept with q = 1 - p, by a mask m ∈ {0, 1}, and let
W be the weights that consume it.

============  ====================  ===================
convention    in training           at test
============  ====================  ===================
inverted      ``W (x ⊙ m / q) + b``  ``W x + b``
classic       ``C (x ⊙ m) + b``      ``(q C) x + b``
============  ====================  ===================

They are the same network, in training and at test, if ``C = W / q``. PyTorch and this package
use the first. Srivastava et al. (2014) use the second: train without scaling, multiply the
outgoing weights by the *keep* probability at test.
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

# f(q·x) = q·f(x) for q > 0: the factor passes through to the next layer.
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

    ``y = x ⊙ m`` in training, ``y = q · x`` at test time. The latter equals multiplying the weights
    of the layer that consumes y by q.

    Args:
        inverted: the layer of the inverted convention that it replaces. With the same seed both
            drop the same units.

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
        """Drop units of ``x``, of any shape, or scale it."""
        if not self.training:
            return x * self.keep_prob
        return torch.where(self.inverted(torch.ones_like(x)) != 0, x, 0.0)


def to_classic(model: nn.Module) -> nn.Module:
    """Convert a model to the classic convention, and return the copy, which is the same network.

    ``C = W / q`` for every weight that consumes dropped units; each dropout layer becomes a
    `ClassicDropout`.

    The weight that absorbs q is that of the layer *after* the dropout, the linear or convolutional
    layer which consumes its output; its bias is not scaled, since it is not dropped. Operations
    that commute with a positive factor may be in between: ReLU, pooling, reshaping. If two dropout
    layers precede one weight, their q are multiplied.

    Args:
        model: a module with ``Dropout`` or ``Dropout1d``–``3d`` layers, torch's or dropkit's, with
            p below 1. Its forward pass is followed without running it.

    Returns:
        A copy. Weights keep their names, so that ``to_classic(net).load_state_dict(...)`` takes
        a checkpoint of classic weights, and ``from_classic`` then makes it an inverted one.

    Raises:
        ValueError: if there is no such dropout; p = 1; the forward pass cannot be followed; the
            factor meets something that cannot absorb it, such as a sum with undropped units, a
            sigmoid, a normalization, a recurrent layer, a weight tied to another layer or the
            output; a weight overflows.

    `from_classic` restores the weights up to rounding: W / q · q.

    Four units of weight 0.25, p = 0.5. Two survive, at 0.5 each; the test weight is
    0.5 · 0.5 = 0.25:

    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1, bias=False))
    >>> _ = nn.init.constant_(net[1].weight, 0.25)
    >>> to_classic(net)[1].weight.data
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    >>> from_classic(to_classic(net))[1].weight.data
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])

    At p = 0.2 the factors p and q differ: q = 0.8 gives the weight 0.25 again, p = 0.2 would give a
    quarter of it.

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
            raise ValueError(f"p must be below 1 before {name}: no classic weight makes up for it")
        classic = _scale_weight(layer.weight.data, 1.0 / keep)
        if not torch.equal(classic.isfinite(), layer.weight.isfinite()):
            raise ValueError(f"{name}.weight / {keep} must be finite in {classic.dtype}")
        layer.weight.data.copy_(classic)
    return _exchange(model, _INVERTED, ClassicDropout)


def from_classic(model: nn.Module) -> nn.Module:
    """Convert a model to the inverted convention, and return the copy: every classic weight times
    q.

    ``W = q · C``

    The weights of the copy are the classic test weights.

    Args:
        model: a module with `ClassicDropout` layers, as `to_classic` returns it.
            It may have been trained further or loaded with other weights.

    Returns:
        A copy with inverted dropout layers and the names from before ``to_classic``.

    Raises:
        ValueError: if there is no `ClassicDropout`.

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
    """The product, computed in float32 or wider and rounded once."""
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
            raise ValueError(f"{what} cannot be converted; set it to 0 or use layers of dropout")
    calls = trace(model, (ClassicDropout, *_CONSUMERS))
    names = {module: name for name, module in model.named_modules()}
    # The dropout layers whose factor a value carries; None for what is no tensor.
    carried: dict[fx.Node, tuple[str, ...] | None] = {}
    consumers: dict[str, tuple[str, ...]] = {}
    met: set[nn.Module] = set()
    for node in calls.nodes:
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
                f"a linear or convolutional layer must consume what {_names(factor, *inputs)} "
                f"drops, but {what!r} does, which cannot absorb the factor"
            )
    consumers = {name: factor for name, factor in consumers.items() if factor}
    _check(model, kinds, met, consumers)
    return consumers


def _is_of_sizes(node: fx.Node, carried: dict[fx.Node, tuple[str, ...] | None]) -> bool:
    """Whether it calculates with sizes, or takes one out of several."""
    sources = node.all_input_nodes
    operator = node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator"
    return operator and bool(sources) and all(carried[source] is None for source in sources)


def _is_homogeneous(node: fx.Node, module: nn.Module | None) -> bool:
    if module is not None:
        return isinstance(module, _HOMOGENEOUS_LAYERS)
    return node.op in ("call_function", "call_method") and _name_call(node) in _HOMOGENEOUS_CALLS


def _name_call(node: fx.Node) -> str:
    """What a node calls, or the attribute that it reads."""
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
    """Raise unless every dropout layer was met and every weight has one user."""
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
