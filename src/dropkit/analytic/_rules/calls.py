"""Describe the calls in a traced forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from torch import fx, nn

from dropkit.analytic._rules import SHAPES
from dropkit.analytic._rules.conditions import draws


def is_step(module: nn.Module) -> bool:
    """Whether a module counts as a single call; the forward pass of other modules is traced."""
    return type(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)


def called(node: fx.Node) -> str:
    """Return the name of the module, function or method that a node calls."""
    return node.target if isinstance(node.target, str) else node.target.__name__


def plain(name: str) -> tuple[str, bool]:
    """Return a function's name without its in-place mark, and whether it works in place."""
    bare = name.rstrip("_")
    if bare != name:
        return bare, True
    if name in {"iadd", "isub", "imul", "itruediv"}:
        return name[1:], True
    return name, False


def caller(node: fx.Node) -> Callable[..., Any]:
    """Return a function that does the call of a node."""
    if node.op == "call_function":
        return node.target  # type: ignore[return-value]
    return lambda x, *args, **kwargs: getattr(x, str(node.target))(*args, **kwargs)


def is_dropout(module: nn.Module, node: fx.Node) -> bool:
    """Whether a node of a module's forward pass is a dropout layer or ``F.dropout``."""
    if node.op == "call_module":
        return draws(module.get_submodule(str(node.target)))
    return node.op == "call_function" and called(node) == "dropout"


def describe_calls(module: nn.Module, graph: fx.Graph) -> Iterator[str]:
    """Yield one line for each call inside a module's forward pass, except calls of dropout."""
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
    """Whether an in-place call changes a tensor that other nodes use, perhaps through a view."""
    changed = node.all_input_nodes[:1]
    while changed:
        (source,) = changed
        if len(source.users) > 1:
            return True
        moves = source.op in ("call_method", "call_function") and called(source) in SHAPES
        changed = source.all_input_nodes[:1] if moves else []
    return False
