"""Trace the forward pass of a model symbolically, to find the order of module calls."""

import gc
import inspect
import weakref
from collections.abc import Collection
from typing import Any

from torch import fx, nn
from torch.fx.node import map_aggregate

from dropkit._tracer import LocalTracer
from dropkit._twin import share

#: The name of the child that ``insert`` adds to a module to process its output.
AFTER = "after"


class _Tracer(LocalTracer):
    """Record modules without children, modules of torch and types in ``steps`` as single calls.

    Subclasses of attention are also single calls, because their code branches on shapes and masks.
    """

    def __init__(self, steps: tuple[type[nn.Module], ...], without: Collection[str]) -> None:
        super().__init__()
        self._steps, self._without = steps, without
        self._symbols: list[weakref.ref[fx.Proxy]] = []

    def proxy(self, node: fx.Node) -> fx.Proxy:
        symbol = super().proxy(node)
        self._symbols.append(weakref.ref(symbol))
        return symbol

    def note_escapes(self) -> None:
        """Mark symbols that still exist after the forward pass, because an object stores them."""
        if any(symbol() is not None for symbol in self._symbols):
            gc.collect()  # delete symbols in reference cycles
        for symbol in self._symbols:
            _escape(symbol())

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        function, arguments = super().create_args_for_root(root_fn, is_module, concrete_args)
        return function, [arguments[0], *map(self._read_argument, arguments[1:])]

    def _read_argument(self, argument: fx.Proxy) -> Any:
        """Return the symbol of an argument, or the constant default of an omitted argument."""
        found = argument.node.args if argument.node.target in self._without else ()
        return found[0] if found and isinstance(found[0], int | float | str | None) else argument

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        childless = not m._modules or (len(m._modules) == 1 and layer_after(m) is not None)
        return (
            childless
            or isinstance(m, (nn.MultiheadAttention, *self._steps))
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        if is_seen(m) and not self.is_leaf_module(m, self.path_of_module(m)):
            _escape((args, kwargs, output))
        # The hooks of a single call are not traced, so call the inserted layer here.
        after = layer_after(m)
        if after is not None and self.is_leaf_module(m, self.path_of_module(m)):
            return after(output)
        return output


def trace(
    model: nn.Module,
    steps: tuple[type[nn.Module], ...] = (),
    *,
    given: int | None = None,
    without: Collection[str] = (),
) -> fx.Graph:
    """Return the graph of calls of ``model``; its ``call_module`` nodes name modules.

    If an object stores a value, or hooks of a traced module receive it, the ``meta`` of its node
    contains ``escapes``. If a value is a constant tensor that is no attribute of the model,
    ``meta`` contains this tensor as ``constant``.

    Args:
        model: any module; its forward pass runs with symbols instead of tensors.
        steps: additional types of modules to record as single calls.
        given: number of arguments that are passed. Later optional arguments get their defaults, if
            these are None, numbers or text. Default: all are passed.
        without: names of further optional arguments that get their defaults.

    Raises:
        ValueError: if the forward pass depends on values, such as ``if x.sum() > 0``, or if the
            instance has its own forward pass.
    """
    if "forward" in vars(model):
        raise ValueError(
            f"{type(model).__name__} must have the forward pass of its class to be traced, but "
            "this instance has its own; define it in a subclass"
        )
    if given is not None:
        without = [*without, *[*inspect.signature(model.forward).parameters][given:]]
    tracer = _Tracer(steps, without)
    try:
        followed = share(model)[model]
        graph = tracer.trace(followed)
        tracer.note_escapes()
    except Exception as error:
        raise ValueError(
            f"the forward pass of {type(model).__name__} cannot be traced without running it "
            f"({error}); it must not branch on values"
        ) from error
    for node in graph.find_nodes(op="get_attr"):
        if node.target in vars(followed) and node.target not in vars(model):
            node.meta["constant"] = getattr(followed, node.target)
    return graph


def options(model: nn.Module) -> list[str]:
    """Return the names of the optional arguments of the forward pass."""
    parameters = inspect.signature(model.forward).parameters
    return [name for name, given in parameters.items() if given.default is not given.empty]


def is_seen(module: nn.Module) -> bool:
    """Whether a module has hooks that receive its inputs or outputs.

    The hook of an inserted layer does not count, because the graph contains the layer.
    """
    after = layer_after(module) is not None and not is_chain(module)
    return bool(
        len(module._forward_hooks) - after
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


class CallsAfter:
    """Mark the object whose method is the forward hook that calls an inserted layer."""


def layer_after(module: nn.Module) -> nn.Module | None:
    """Return the layer that ``insert`` put after a module; ignore an unrelated child ``after``."""
    layer = module._modules.get(AFTER)
    hooks = module._forward_hooks.values()
    called = any(isinstance(getattr(hook, "__self__", None), CallsAfter) for hook in hooks)
    return layer if called or is_chain(module) else None


def is_chain(module: nn.Module) -> bool:
    """Whether a module is a Sequential, which itself calls an inserted layer, as its last child."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _escape(value: Any) -> None:
    """Mark the symbols in a value as escaping from the graph."""

    def note(entry: Any) -> Any:
        if isinstance(entry, fx.proxy.Attribute):
            note(entry.root)  # reading entry.node would create a node
        elif isinstance(entry, fx.Proxy):
            entry.node.meta["escapes"] = True
        return entry

    map_aggregate(value, note)
