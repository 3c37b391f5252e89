"""What the nodes of a followed forward pass call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from torch import fx, nn

from dropkit.analytic._rules import SHAPES
from dropkit.analytic._rules.conditions import draws


def is_step(module: nn.Module) -> bool:
    """Whether a module is one call, rather than a forward pass to look into."""
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)


def called(node: fx.Node) -> str:
    """The name of what a node calls."""
    return node.target if isinstance(node.target, str) else node.target.__name__


def plain(name: str) -> tuple[str, bool]:
    """The name of a function, and whether it works in place."""
    bare = name.rstrip("_")
    if bare != name:
        return bare, True
    if name in {"iadd", "isub", "imul", "itruediv"}:
        return name[1:], True
    return name, False


def caller(node: fx.Node) -> Callable[..., Any]:
    """What to call in the place of a node."""
    if node.op == "call_function":
        return node.target  # type: ignore[return-value]
    return lambda x, *args, **kwargs: getattr(x, str(node.target))(*args, **kwargs)


def is_dropout(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node of a module's forward pass is a layer that draws, or ``F.dropout``."""
    if node.op == "call_module":
        return draws(module.get_submodule(str(node.target)))
    return node.op == "call_function" and called(node) == "dropout"


def told(module: nn.Module, graph: fx.Graph) -> Iterator[str]:
    """Tell what a module's forward pass does, a call at a time; dropout hands its input on."""
    names: dict[fx.Node, str] = {}
    numbers = count()
    for node in graph.nodes:
        if is_dropout(module, node) and node.all_input_nodes:
            names[node] = names[node.all_input_nodes[0]]
            continue
        names[node] = f"%{next(numbers)}"
        given = [*node.args, *(f"{name}={value}" for name, value in node.kwargs.items())]
        yield f"{called(node)}({', '.join(map(str, fx.map_arg(given, names.__getitem__)))})"


def changes_others(node: fx.Node) -> bool:
    """Whether a call in place changes what others use, of which its input may be a view."""
    changed = node.all_input_nodes[:1]
    while changed:
        (source,) = changed
        if len(source.users) > 1:
            return True
        moves = source.op in ("call_method", "call_function") and called(source) in SHAPES
        changed = source.all_input_nodes[:1] if moves else []
    return False
