"""Trace one training pass, and find the layers before and after each dropout layer."""

from collections import Counter
from dataclasses import dataclass
from operator import getitem
from typing import Any

from torch import fx, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.utils._pytree import tree_leaves

from dropkit._graph import layer_after, trace
from dropkit.noise import Dropout
from dropkit.thinned import _layers as layers


@dataclass(frozen=True)
class Place:
    """A dropout layer that can be thinned, with the layers around it.

    A *product* is a linear or convolutional layer.

    Attributes:
        dropout: the dropout layer.
        spatial: number of dimensions after the dimension of the units, in the input of the dropout
            layer.
        size: number of units.
        producer: the product that computes only the kept units; None if all units are computed, and
            the dropout layer selects the kept ones.
        norms: batch normalizations between producer and dropout layer.
        consumers: the products that get the units, each with the number of its inputs per unit.
            Empty if the dropout layer fills dropped units with zeros instead.
    """

    dropout: nn.Module
    spatial: int
    size: int
    producer: nn.Module | None = None
    norms: tuple[nn.Module, ...] = ()
    consumers: tuple[tuple[nn.Module, int], ...] = ()


#: A place, or None if the layer cannot be thinned; and the reason why one or both sides stay dense.
Found = tuple[Place | None, str]


class Calls:
    """The traced calls of one training pass, with searches before and after a dropout layer."""

    def __init__(self, model: nn.Module, groups: int, without: tuple[str, ...]) -> None:
        self._model = model
        self._groups = groups
        self._names = {module: name for name, module in model.named_modules()}
        modes = {module: module.training for module in model.modules()}
        model.train()  # trace the training pass, because the model may depend on its mode
        try:
            self._nodes = _plain(trace(model, without=without))
        finally:
            for module, mode in modes.items():
                module.training = mode
        self._count = Counter(map(self._module, self._nodes))
        self._callers = {
            held: self._names[step]
            for step in self._count
            if step is not None
            for held in _held(step)
        }

    def place(self, dropout: nn.Module) -> Found:
        """Return the place of a dropout layer or None, and why one or both sides stay dense."""
        spatial = layers.dropped_dims(dropout)
        if spatial is None:
            return None, _no_units(dropout)
        if reason := self._untouchable(dropout):
            return None, reason
        (node,) = (n for n in self._nodes if self._module(n) is dropout)
        before = self._before(node, spatial)
        after = self._after(node, spatial)
        producer, norms, flat = (None, (), False) if isinstance(before, str) else before
        consumers = () if isinstance(after, str) else after
        inputs = {layers.sizes(consumer)[0] for consumer, _ in consumers}
        if producer is not None and flat and inputs != {layers.sizes(producer)[1]}:
            producer, norms = None, ()
            before = "it drops single values of feature maps"
        if producer is None and getattr(dropout, "inplace", False):
            return None, f"it drops in place, and {before}; take inplace=False"
        if producer is None and any(flattened for _, flattened in consumers):
            consumers, after = (), "its channels are flattened, and their number is not known"
        if producer is None and len(inputs) > 1:
            consumers, after = (), "its consumers differ in size"
        reasons = [side for side in (before, after) if isinstance(side, str)]
        if producer is None and not consumers:
            return None, "; ".join(reasons)
        size = inputs.pop() if producer is None else layers.sizes(producer)[1]
        found = Place(
            dropout,
            spatial,
            size,
            producer,
            norms,
            tuple((consumer, layers.sizes(consumer)[0] // size) for consumer, _ in consumers),
        )
        return found, "".join(reasons)

    def find_outside_calls(self, place: Place) -> str:
        """Return the modules of a place in a transformer layer that other code also calls."""
        modules = place.producer, place.dropout, *(consumer for consumer, _ in place.consumers)
        return " and ".join(self._names[m] for m in modules if m is not None and m in self._count)

    def functions(self) -> dict[str, str]:
        """Return the calls of dropout functions, which cannot be thinned, with the reason."""
        return {
            node.name: f"{self._what(node)} is called as a function; use a layer"
            for node in self._nodes
            if node.op == "call_function" and "dropout" in getattr(node.target, "__name__", "")
        }

    def _before(
        self, node: fx.Node, spatial: int
    ) -> tuple[nn.Module, tuple[nn.Module, ...], bool] | str:
        """Search back for the producer; return it, the norms, and whether units are flattened."""
        flat = False
        norms: list[Any] = []
        pooled_dims: set[int] = set()
        while True:
            node = node.all_input_nodes[0]
            if len(node.users) > 1 or _escapes(node):
                return f"its input, {self._what(node)}, is also used elsewhere"
            module = self._module(node)
            dims = layers.product_dims(module)
            pooled = layers.pool_dims(node, module)
            if module is not None and dims is not None:
                if dims != spatial and not flat:
                    other = f"; use Dropout{dims}d" if spatial and dims else ""
                    return f"it does not drop whole units of {self._what(node)}{other}"
                _, units = layers.sizes(module)
                others = {norm.num_features for norm in norms} - {units}
                if others or pooled_dims - {dims}:
                    return f"what follows {self._what(node)} acts on another dimension"
                return self._untouchable(module) or (module, tuple(norms), flat)
            if isinstance(module, layers.NORMS):
                if reason := self._untouchable(module) or self._no_norm(module):
                    return f"{self._what(node)} {reason}"
                norms.append(module)
            elif layers.is_flatten(node, module) and spatial == 0 and not flat:
                flat = True
            elif pooled is not None and (flat or pooled == spatial):
                pooled_dims.add(pooled)
            elif not layers.is_pointwise(node, module, after=False):
                return f"its units come from {self._what(node)}"

    def _after(self, node: fx.Node, spatial: int) -> tuple[tuple[nn.Module, bool], ...] | str:
        """Search forward for the consumers; return whether units are flattened before each one."""
        found: dict[nn.Module, bool] = {}
        if _escapes(node):
            return "its output is also used elsewhere"
        pending = [(user, False) for user in node.users]
        while pending:
            user, flat = pending.pop()
            module = self._module(user)
            dims = layers.product_dims(module)
            pooled = layers.pool_dims(user, module)
            if module is not None and dims is not None:
                if dims != (0 if flat else spatial):
                    return f"it does not drop whole units for {self._what(user)}"
                if reason := self._untouchable(module):
                    return reason
                found[module] = flat
                continue
            if layers.is_flatten(user, module) and spatial > 0 and not flat:
                flat = True
            elif pooled is not None and not flat and pooled == spatial:
                pass
            elif not layers.is_pointwise(user, module, after=True) or _escapes(user):
                shape = spatial and self._what(user) in ("view", "reshape", "size", "shape")
                other = "; use flatten(1)" if shape else ""
                return f"{self._what(user)} must see the dropped units too{other}"
            pending += [(next_user, flat) for next_user in user.users]
        return tuple(found.items()) or "nothing consumes its units"

    def _untouchable(self, module: nn.Module) -> str | None:
        name = self._names[module] or "the model"
        if self._count[module] != 1:
            return f"{name} is called {self._count[module]} times in a pass, not once"
        if module in self._callers:
            return f"{name} may be called by {self._callers[module]} too"
        reason = layers.why_not(module)
        return reason and f"{name} {reason}"

    def _no_norm(self, module: Any) -> str | None:
        if type(module) not in layers.NORMS:
            return "is not torch's own batch normalization"
        if module.momentum is None:
            return "averages over all batches, but kept channels differ between batches"
        if self._groups > 1:
            return "normalizes over the groups, which keep different channels"
        return None

    def _module(self, node: fx.Node) -> nn.Module | None:
        called = node.op == "call_module"
        return self._model.get_submodule(str(node.target)) if called else None

    def _what(self, node: fx.Node) -> str:
        module = self._module(node)
        if module is not None:
            lazy = "; run one batch first" if isinstance(module, LazyModuleMixin) else ""
            return f"{self._names[module]} ({type(module).__name__}{lazy})"
        if node.op == "placeholder":
            return "the input"
        if node.op == "output":
            return "the output"
        if node.target is getattr:
            return str(node.args[1])
        return str(getattr(node.target, "__name__", node.target))


def _escapes(node: fx.Node) -> bool:
    """Whether an object stores a value, or a hook reads it, which the traced uses do not show."""
    return bool(node.meta.get("escapes"))


def _held(step: nn.Module) -> set[nn.Module]:
    """Return what an untraced module may call: all its submodules except an inserted layer."""
    found: set[nn.Module] = set()
    pending = [step]
    while pending:
        module = pending.pop()
        held, after = dict(vars(module)), layer_after(module)
        held["_modules"] = [child for child in module.children() if child is not after]
        new = {leaf for leaf in tree_leaves(held) if isinstance(leaf, nn.Module)} - found
        found |= new
        pending += new
    return found - {step}


def _plain(graph: fx.Graph) -> list[fx.Node]:
    """Return the calls, with ``x.view(x.size(0), -1)`` replaced by ``x.flatten(1)``.

    Reading the number of rows does not count as a use of the units.
    """
    shapes: dict[Any, Any] = {}  # for nodes that are a shape or a number of rows: of which tensor
    rows: dict[Any, Any] = {}
    for node in graph.nodes:
        called, given = node.target, node.args
        if node.op not in ("call_function", "call_method"):
            continue
        if (called is getattr and given[1:] == ("shape",)) or (called == "size" and not given[1:]):
            shapes[node] = given[0]
        elif called == "size" and given[1:] == (0,):
            rows[node] = given[0]
        elif called is getitem and given[1] == 0 and given[0] in shapes:
            rows[node] = shapes[given[0]]
        elif (
            called in ("view", "reshape") and given[2:] == (-1,) and rows.get(given[1]) is given[0]
        ):
            node.target, node.args = "flatten", (given[0], 1)
    for node in (*rows, *shapes):
        if node in rows or not node.users:
            node.args = ()
    return list(graph.nodes)


def _no_units(dropout: nn.Module) -> str:
    """Return why a layer does not drop whole units."""
    kind = type(dropout)
    if kind is Dropout:
        return f"{kind.__name__} does not drop whole units"
    for base in layers.DROPOUT:
        if isinstance(dropout, base):
            return (
                f"{kind.__name__} is a subclass of {base.__name__}, and may compute something else"
            )
    return f"{kind.__name__} is not known to zero whole units"
