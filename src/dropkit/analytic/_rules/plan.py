"""Plan a forward pass on means and variances: one rule for each call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from dropkit._draws import Draws
from dropkit._graph import AFTER, is_chain, layer_after, trace
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
from dropkit.analytic._rules.calls import (
    called,
    caller,
    changes_others,
    describe_calls,
    is_dropout,
    is_step,
    plain,
)
from dropkit.analytic._rules.conditions import NOISES, check_hooks, check_layer, draws, known

Call = Callable[..., Any]
_SEVERAL = {"add", "sub", "cat", "concat", "stack"}  # several arguments may be random at once
_EITHER = {"mul", *_SEVERAL}  # the random argument may be any one, not only the first


class Source(NamedTuple):
    """A dropout call: the mean of each input unit, and the variance that dropout adds."""

    mean: Tensor
    noise: Tensor


class Plan:
    """A module's forward pass on means and variances.

    Args:
        module: any module; it is traced in training mode, in which functions drop.
        name: name of the module in the whole model.
        random: for each passed argument, whether the argument is random; arguments that are not
            passed have their defaults.

    Attributes:
        random: whether the output is random.

    Raises:
        ValueError: a call with random input has no rule, or a call may draw random numbers itself.
    """

    def __init__(self, module: nn.Module, name: str, random: Sequence[bool]) -> None:
        whole = nn.Sequential(module) if is_step(module) else module
        # Shallow copies with the same parameters, because tracing may add constants to a module.
        self._module, evaluated = copy(whole), copy(whole)
        self._name = name
        with mode(self._module, training=True), Draws() as drawn:
            self._graph = self._traced(self._module, len(random))
        if drawn.sizes or drawn.outside:
            raise ValueError(f"{self._of()} draws random numbers itself, which is not supported")
        with mode(evaluated, training=False):
            self._check_same(self._traced(evaluated, len(random)))
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
        """Return a `Gaussian`, or a tensor if the output is not random.

        If ``sources`` is given, append every dropout call to this list; then gradients only flow
        through the means.
        """
        values: dict[fx.Node, Any] = {}
        given = iter(inputs)
        for node in self._graph.nodes:
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            match node.op:
                case "placeholder":
                    values[node] = next(given, *args)
                case "get_attr":
                    constant = node.meta.get("constant")
                    found = _attribute(self._module, node.target) if constant is None else constant
                    values[node] = found
                case "output":
                    return args[0]
                case _ if sources is None:
                    values[node] = self._calls[node](*args, **kwargs)
                case _:
                    values[node] = self._linear(node, args, kwargs, sources)
        return None

    def _traced(self, module: nn.Module, given: int) -> fx.Graph:
        graph = trace(module, NOISES, given=given)
        if not self._name:  # hooks of the whole model are not part of its traced forward pass
            check_hooks(module, self._who("", module))
            if layer_after(module) is not None and not is_chain(module):
                output = graph.output_node()
                with graph.inserting_before(output):
                    output.args = (graph.call_module(AFTER, output.args),)
        return graph

    def _check_same(self, evaluated: fx.Graph) -> None:
        """Raise if the forward pass in evaluation differs in more than dropout."""
        for there, here in zip_longest(
            *(describe_calls(self._module, graph) for graph in (self._graph, evaluated))
        ):
            if there != here:
                raise ValueError(
                    f"{self._of()} must be equal in training and evaluation except for dropout, "
                    f"got {there} and {here}; move the difference into a layer of torch.nn"
                )

    def _linear(self, node: fx.Node, args: Any, kwargs: Any, sources: list[Source]) -> Any:
        """Return the result of a call; if the call is dropout, append it to the sources."""
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
        # Create a new tensor, because the same units may also be used elsewhere, without this
        # noise.
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
            if node.kwargs or any(source not in node.args for source in varies):
                raise ValueError(f"{who} must be called with tensors, by position, in no list")
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
        raw = called(node)
        name, in_place = plain(raw)
        who = f"{raw!r} in {self._of()}"
        self._check_in_place(node, who, in_place or bool(node.kwargs.get("inplace", False)))
        if name == "getattr":  # a property of a tensor, such as x.T or x.shape
            name = str(node.args[1])
        call = caller(node)
        varying = self._varying(node)
        if is_dropout(self._module, node):
            varying = varying or list(node.all_input_nodes[:1])
            self._drops.add(node)
        if not varying:
            if name not in CALM | SHAPES | ASKS | FUNCTIONS.keys():
                raise ValueError(f"{who} might draw random numbers; use a layer of torch.nn")
            self._calls[node] = call
            return
        if name in ASKS:
            self._calls[node] = lambda x, *args, **kwargs: call(x.mean, *args, **kwargs)
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
            raise ValueError(f"{who} must take the random value as its first argument")
        if [*node.args, *node.kwargs.values()].count(varying[0]) > 1:
            raise ValueError(f"{who} must not take the same random value twice; scale it instead")
        if name in FUNCTIONS:
            try:
                bound = inspect.signature(FUNCTIONS[name]).bind(*node.args, **node.kwargs)
            except TypeError as error:
                raise ValueError(f"{who} has no rule for how it is called: {error}") from None
            if name == "softmax" and bound.arguments["dim"] is None:
                raise ValueError(f"{who} must have an explicit dimension; pass dim")

    def _check_in_place(self, node: fx.Node, who: str, in_place: bool) -> None:
        if in_place and changes_others(node):
            raise ValueError(
                f"{who} changes a value that is also used elsewhere; pass inplace=False"
            )

    def _path(self, target: str) -> str:
        return f"{self._name}.{target}" if self._name else target

    def _who(self, target: str, layer: nn.Module) -> str:
        return f"{self._path(target) or 'the model'} ({type(layer).__name__})"

    def _of(self) -> str:
        return f"the forward pass of {self._name or 'the model'} ({type(self._module).__name__})"


def _tangent(call: Call, x: Gaussian, *args: Any) -> Gaussian:
    """Apply a pointwise function; in the backward pass, only multiply by its slope."""
    mean = x.mean.detach().requires_grad_()
    made = call(Gaussian(mean, x.variance), *args)
    (slope,) = torch.autograd.grad(made.mean.sum(), mean)
    made = Gaussian(*(t.detach() for t in made))
    return Gaussian(torch.addcmul(made.mean, slope, x.mean - mean.detach()), made.variance)


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
