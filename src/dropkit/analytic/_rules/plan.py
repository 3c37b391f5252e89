"""The calls of a forward pass, each with the rule that takes mean and variance through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from dropkit._draws import Draws
from dropkit._graph import trace
from dropkit._mode import mode
from dropkit.analytic._rules import (
    ASKS,
    CALM,
    FUNCTIONS,
    POINTWISE,
    POINTWISE_LAYERS,
    SHAPES,
    Gaussian,
)
from dropkit.analytic._rules.conditions import check_hooks, check_layer, draws, known
from dropkit.noise import Noise

Call = Callable[..., Any]
_SEVERAL = {"add", "sub", "cat", "concat", "stack"}  # take more than one random argument
_EITHER = {"mul", *_SEVERAL}  # take it in any place


class Source(NamedTuple):
    """Where noise comes in: the units of a dropout layer, and the variance that it adds to each."""

    mean: Tensor
    noise: Tensor


class Plan:
    """A module's forward pass on means and variances.

    Args:
        module: any; followed with all of it in training, where functions drop.
        name: of the module in the whole model.
        random: which of its arguments vary, an entry for each that is passed; others have their
            defaults.

    Attributes:
        random: whether its output varies.

    Raises:
        ValueError: a call that varies and has no rule, or one that may draw unseen.
    """

    def __init__(self, module: nn.Module, name: str, random: Sequence[bool]) -> None:
        # A copy, since following it may leave constants in it; its parameters are the module's.
        self._module = nn.Sequential(module) if _is_step(module) else copy(module)
        self._name = name
        with mode(self._module, training=True), Draws() as drawn:
            self._graph = trace(self._module, (Noise,), given=len(random))
        if drawn.sizes or drawn.outside:
            raise ValueError(f"{self._of()} draws numbers by itself, for which there is no rule")
        self._calls: dict[fx.Node, Call] = {}
        self._varies: set[fx.Node] = set()
        self._drops: set[fx.Node] = set()
        self._pointwise: set[fx.Node] = set()
        given = iter(random)
        for node in self._graph.nodes:
            match node.op:
                case "placeholder":
                    if next(given, False):
                        self._varies.add(node)
                case "call_module":
                    self._plan_layer(node)
                case "call_function" | "call_method":
                    self._plan_function(node)
                case "output":
                    if not isinstance(node.args[0], fx.Node):
                        raise ValueError(f"{self._of()} must return one tensor")
                    self.random = node.args[0] in self._varies

    def __call__(self, *inputs: Any, sources: list[Source] | None = None) -> Any:
        """Return a `Gaussian`, or a tensor where nothing varies.

        With ``sources``, every place of noise is added to that list, and gradients go back to
        these places along the means alone.
        """
        values: dict[fx.Node, Any] = {}
        given = iter(inputs)
        for node in self._graph.nodes:
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            match node.op:
                case "placeholder":
                    values[node] = next(given, *args)
                case "get_attr":
                    values[node] = _attribute(self._module, node.target)
                case "output":
                    return args[0]
                case _ if sources is None:
                    values[node] = self._calls[node](*args, **kwargs)
                case _:
                    values[node] = self._linear(node, args, kwargs, sources)
        return None

    def _linear(self, node: fx.Node, args: Any, kwargs: Any, sources: list[Source]) -> Any:
        """What a call makes of its input, with its place among the sources if it is one."""
        call = self._calls[node]
        if isinstance(call, Plan):
            return call(*args, **kwargs, sources=sources)
        if node not in self._varies:
            return call(*args, **kwargs)
        if node in self._pointwise:
            return _tangent(partial(call, **kwargs), *args)
        if node not in self._drops:
            made = call(*args, **kwargs)
            return Gaussian(made.mean, made.variance.detach())
        x = _gaussian(args[0])
        # A tensor of its own, since the units may be used elsewhere too, without this noise.
        mean = x.mean.view_as(x.mean) if x.mean.requires_grad else x.mean.detach().requires_grad_()
        made = call(Gaussian(mean, x.variance), *args[1:], **kwargs)
        sources.append(Source(mean, (made.variance - x.variance).detach()))
        return Gaussian(made.mean, made.variance.detach())

    def _plan_layer(self, node: fx.Node) -> None:
        layer = self._module.get_submodule(str(node.target))
        who = self._who(str(node.target), layer)
        varies = self._varying(node)
        self._check_in_place(node, who, bool(getattr(layer, "inplace", False)))
        rule = known(layer)
        if (varies or draws(layer)) and rule is not None:
            check_layer(layer, who)
            if node.kwargs or len(node.args) != 1:
                raise ValueError(f"{who} must be called with its input alone, by position")
            self._varies.add(node)
            if draws(layer):
                self._drops.add(node)
            elif isinstance(layer, POINTWISE_LAYERS):
                self._pointwise.add(node)
            self._calls[node] = lambda x: rule(layer, _gaussian(x))
        elif draws(layer):
            raise ValueError(
                f"{who} draws in a way that has no rule; use Dropout or GaussianDropout, or strip "
                "it"
            )
        elif not type(layer).__module__.startswith(("torch.nn.", "dropkit.")):
            check_hooks(layer, who)
            if node.kwargs:
                raise ValueError(f"{who} must be called with arguments by position")
            inner = Plan(layer, self._path(str(node.target)), [n in varies for n in node.args])
            self._calls[node] = inner
            if inner.random:
                self._varies.add(node)
        elif varies:
            raise ValueError(
                f"{who} has no rule for mean and variance; replace it, or move it before the "
                "first dropout"
            )
        else:
            self._calls[node] = layer

    def _varying(self, node: fx.Node) -> list[fx.Node]:
        return [source for source in node.all_input_nodes if source in self._varies]

    def _plan_function(self, node: fx.Node) -> None:
        raw = node.target if isinstance(node.target, str) else node.target.__name__
        name, in_place = _plain(raw)
        who = f"{raw!r} in {self._of()}"
        self._check_in_place(node, who, in_place or bool(node.kwargs.get("inplace", False)))
        if name == "getattr":  # a property of a tensor: x.T moves its units, x.shape tells of them
            name = str(node.args[1])
        call = _caller(node)
        varying = self._varying(node)
        if name == "dropout" and node.op == "call_function":
            varying = varying or list(node.all_input_nodes[:1])
            self._drops.add(node)
        if not varying:
            if name not in CALM | SHAPES | ASKS | FUNCTIONS.keys():
                raise ValueError(f"{who} is not known to draw nothing; use a layer of torch.nn")
            self._calls[node] = call
            return
        if name in ASKS:
            self._calls[node] = lambda x, *args: call(x.mean, *args)
            return
        self._check_arguments(node, name, who, varying)
        self._varies.add(node)
        if name in SHAPES:
            self._calls[node] = lambda *args, **kwargs: _moved(call, args, kwargs)
        elif name in FUNCTIONS:
            rule = FUNCTIONS[name]
            if name in POINTWISE:
                self._pointwise.add(node)
            first = name not in _EITHER
            self._calls[node] = lambda x, *args, **kwargs: rule(
                _gaussian(x) if first else x, *args, **kwargs
            )
        else:
            raise ValueError(f"{who} has no rule for mean and variance; it comes after dropout")

    def _check_arguments(self, node: fx.Node, name: str, who: str, varying: list[fx.Node]) -> None:
        if len(varying) > 1 and name not in _SEVERAL:
            raise ValueError(f"{who} combines random values in a way that has no rule")
        if name not in _EITHER and (not node.args or node.args[0] is not varying[0]):
            raise ValueError(f"{who} must take what varies as its first argument")
        if name in {"add", "sub", "mul"} and len(set(map(str, node.args[:2]))) == 1:
            raise ValueError(f"{who} must not take the same random value twice; scale it instead")

    def _check_in_place(self, node: fx.Node, who: str, in_place: bool) -> None:
        if in_place and any(len(source.users) > 1 for source in node.all_input_nodes[:1]):
            raise ValueError(f"{who} changes what is used elsewhere too; take inplace=False")

    def _path(self, target: str) -> str:
        return f"{self._name}.{target}" if self._name else target

    def _who(self, target: str, layer: nn.Module) -> str:
        return f"{self._path(target)} ({type(layer).__name__})"

    def _of(self) -> str:
        return f"the forward pass of {self._name or 'the model'} ({type(self._module).__name__})"


def _is_step(module: nn.Module) -> bool:
    """Whether a module is one call, rather than a forward pass to look into."""
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)


def _tangent(call: Call, x: Gaussian, *args: Any) -> Gaussian:
    """What acts on each unit alone, as a product with its slope: one step for each way back."""
    mean = x.mean.detach().requires_grad_()
    made = call(Gaussian(mean, x.variance), *args)
    (slope,) = torch.autograd.grad(made.mean.sum(), mean)
    made = Gaussian(*(t.detach() for t in made))
    return Gaussian(torch.addcmul(made.mean, slope, x.mean - mean.detach()), made.variance)


def _plain(raw: str) -> tuple[str, bool]:
    """The name of a function, and whether it works in place."""
    name = raw.rstrip("_")
    if name != raw:
        return name, True
    if raw in {"iadd", "isub", "imul", "itruediv"}:
        return raw[1:], True
    return raw, False


def _caller(node: fx.Node) -> Call:
    if node.op == "call_function":
        return node.target  # type: ignore[return-value]
    return lambda x, *args, **kwargs: getattr(x, str(node.target))(*args, **kwargs)


def _gaussian(x: Tensor | Gaussian) -> Gaussian:
    return x if isinstance(x, Gaussian) else Gaussian(x, torch.zeros_like(x))


def _moved(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Gaussian:
    if isinstance(args[0], Gaussian):
        x, *rest = args
        return Gaussian(call(x.mean, *rest, **kwargs), call(x.variance, *rest, **kwargs))
    parts = [_gaussian(x) for x in args[0]]
    means, variances = [x.mean for x in parts], [x.variance for x in parts]
    return Gaussian(call(means, *args[1:], **kwargs), call(variances, *args[1:], **kwargs))


def _attribute(module: nn.Module, target: Any) -> Any:
    value: Any = module
    for part in str(target).split("."):
        value = getattr(value, part)
    return value
