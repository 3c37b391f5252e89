"""Find dropout in the source code of a module's class, without running it."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from types import CodeType, FunctionType
from typing import Literal

from dropkit._source import (
    is_library,
    list_functions,
    list_methods,
    list_methods_of_forward,
    list_names,
    list_own_bases,
    parse_function,
)

_DROPS = re.compile(r"drop(out|_?path|_?connect|_?block)|stochastic_?depth", re.IGNORECASE)
_TOPIC = re.compile("drop|stochastic_?depth|attention", re.IGNORECASE)
_NAMED = re.compile(r"drop|stochastic_?depth", re.IGNORECASE)
_ATTENTION_RATES = {"dropout", "dropout_p", "p"}


def is_named_like_dropout(name: str) -> bool:
    """Whether the name of a class, a function or an attribute indicates dropout."""
    return _NAMED.search(name) is not None


@cache
def find_dropout_calls(kind: type) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the dropout functions that a class calls, each with the attributes in the call.

    For example, ``F.dropout(x, self.rate)`` gives ``("F.dropout", {"rate"})``. Layers such as
    ``self.dropout(x)`` do not count, but layers that the call creates do, such as
    ``nn.Dropout(self.rate)(x)``. Attention functions count if their rate is not 0.
    """
    found: dict[tuple[str, frozenset[str]], None] = {}  # an ordered set
    for method in list_methods(kind):
        nodes = list(_nodes(method))
        meaning = _variables(nodes)
        layers = _layers_created(nodes, method.__globals__)
        for call in nodes:
            if not isinstance(call, ast.Call):
                continue
            layer = layers.get(ast.unparse(call.func))
            if layer is not None:
                found[ast.unparse(layer.func), frozenset(_attributes(layer, meaning))] = None
            drops = _DROPS.search(_last(call.func)) and _is_function(call.func, method.__globals__)
            if drops or _attends_with_dropout(call):
                found[ast.unparse(call.func), frozenset(_attributes(call, meaning))] = None
    return tuple(found)


@cache
def find_rates_passed(kind: type) -> frozenset[str]:
    """Return the attributes that a class passes as rates to torch: ``F.dropout(x, self.p)``."""
    found: set[str] = set()
    for method in list_methods(kind):
        for call in _nodes(method):
            if isinstance(call, ast.Call) and _DROPS.search(_last(call.func)):
                function = _look_up(call.func, method.__globals__)
                if is_library(str(getattr(function, "__module__", None) or "torch")):
                    found |= _rate_passed(call, 0 if inspect.isclass(function) else 1, "p")
            elif isinstance(call, ast.Call) and _attends_with_dropout(call):
                found |= _rate_passed(call, len(call.args), "dropout_p")
    return frozenset(found)


def _rate_passed(call: ast.Call, place: int, keyword: str) -> set[str]:
    """Return the attribute of ``self`` that a call passes at this place or by this keyword."""
    passed = call.args[place : place + 1] + [k.value for k in call.keywords if k.arg == keyword]
    values = [value.body if isinstance(value, ast.IfExp) else value for value in passed]
    return {value.attr for value in values if isinstance(value, ast.Attribute) and _own(value)}


@cache
def find_layers_read(kind: type) -> frozenset[str]:
    """Return the attributes whose rate a class reads, such as ``dropout`` in ``self.dropout.p``."""
    return frozenset(path[0] for path in _paths_read(kind) if path[1] == "p")


@cache
def find_distant_layers_read(kind: type) -> frozenset[str]:
    """Return the ends of the names of layers in other modules whose rate a class reads.

    ``self.block.drop.p`` gives ``block.drop``, and ``block.drop.p`` gives ``drop``.
    """
    found = set()
    for method in list_methods(kind):
        nodes = list(_nodes(method))
        meaning = _variables(nodes)
        for node in nodes:
            layer = node.value if isinstance(node, ast.Attribute) and node.attr == "p" else None
            if isinstance(layer, ast.Name):
                found |= {path for path in meaning.get(layer.id, ()) if "." in path}
            elif isinstance(layer, ast.Attribute) and not _own(layer):
                within = isinstance(layer.value, ast.Attribute)
                found.add(f"{_last(layer.value)}.{layer.attr}" if within else layer.attr)
    return frozenset(found)


@cache
def find_settings_read(kind: type) -> tuple[tuple[str, str], ...]:
    """Return the dropout settings that the forward pass of a class reads from other objects.

    For example, ``self.config.layerdrop`` gives ``("config", "layerdrop")``. The name of the
    setting must indicate dropout. Only methods that the forward pass calls count, because other
    methods of a base class may only check settings.
    """
    paths = _paths_read(kind, forward_only=True)
    return tuple(path for path in paths if is_named_like_dropout(path[1]))


@cache
def classify_mode_reads(
    kind: type,
) -> Literal["drops", "other", "unknown", "never"]:
    """Return why the methods of a class read ``self.training``.

    Returns:
        ``"drops"`` if the name of the class or a name in the statement indicates dropout;
        ``"other"`` if not; ``"unknown"`` if the source code is not available; ``"never"`` if no
        method reads ``self.training``.
    """
    found = find_mode_reads(kind)
    if "drops" in found:
        return "drops"
    if "other" in found:
        return "other"
    return "unknown" if found else "never"


@cache
def find_mode_reads(kind: type) -> frozenset[str]:
    """Return all reasons, as in ``classify_mode_reads``, why methods read ``self.training``."""
    found: set[str] = set()
    for base in list_own_bases(kind):
        for method in list_functions(base, ()):
            if "training" not in list_names(method.__code__):
                continue
            definition = parse_function(method)
            if definition is None:
                found.add("unknown")
                continue
            for statement in filter(_reads_training, ast.walk(definition)):
                names = {base.__name__, *_words_in(statement)}
                found.add("drops" if any(map(is_named_like_dropout, names)) else "other")
    return frozenset(found)


@cache
def _paths_read(kind: type, *, forward_only: bool = False) -> tuple[tuple[str, str], ...]:
    """Return the nested attributes that methods read: ``self.dropout.p`` gives (dropout, p)."""
    found: dict[tuple[str, str], None] = {}
    for method in list_methods_of_forward(kind) if forward_only else list_methods(kind):
        nodes = list(_nodes(method))
        meaning = _variables(nodes)
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                if isinstance(node.value, ast.Attribute) and _own(node.value):
                    found[node.value.attr, node.attr] = None
                elif isinstance(node.value, ast.Name):
                    held = meaning.get(node.value.id, set())
                    found |= {(name, node.attr): None for name in sorted(held) if "." not in name}
    return tuple(found)


def _words(code: CodeType) -> Iterator[str]:
    """Yield the names in the code, including keywords."""
    yield from list_names(code)
    for constant in code.co_consts:
        if isinstance(constant, tuple):
            yield from filter(lambda word: isinstance(word, str), constant)


def _nodes(method: FunctionType) -> Iterator[ast.AST]:
    """Yield the nodes of the body of a method, if the method mentions dropout."""
    if not any(_TOPIC.search(word) for word in _words(method.__code__)):
        return  # most methods do not mention dropout, so skip parsing
    definition = parse_function(method)
    if definition is None:
        return
    own = [*definition.args.posonlyargs, *definition.args.args][:1]
    for statement in definition.body:
        if own and own[0].arg != "self":
            statement = _Renaming(own[0].arg).visit(deepcopy(statement))
        yield from ast.walk(statement)


class _Renaming(ast.NodeTransformer):
    """Rename the first argument of a method to ``self``."""

    def __init__(self, own: str) -> None:
        self._own = own

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Rename a use of the argument."""
        return ast.Name("self", node.ctx) if node.id == self._own else node


def _last(function: ast.expr) -> str:
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _is_function(function: ast.expr, scope: dict[str, object]) -> bool:
    """Whether an expression names a plain function, not a method, a class or a layer."""
    root = function
    while isinstance(root, ast.Attribute):
        root = root.value
    found = scope.get(root.id) if isinstance(root, ast.Name) else None
    if root is function:
        return callable(found) and not inspect.isclass(found)
    return inspect.ismodule(found) and not _last(function)[:1].isupper()


def _layers_created(nodes: Iterable[ast.AST], scope: dict[str, object]) -> dict[str, ast.Call]:
    """Return the calls that create a dropout layer, by the expressions whose value is the layer.

    ``nn.Dropout(0.5)`` itself is such an expression, and so is a variable that it is assigned to.
    """
    found: dict[str, ast.Call] = {}
    for node in nodes:
        call = node.value if isinstance(node, ast.Assign) else node
        if isinstance(call, ast.Call) and _is_dropout_class(call.func, scope):
            holders = node.targets if isinstance(node, ast.Assign) else [call]
            found |= {ast.unparse(holder): call for holder in holders}
    return {name: call for name, call in found.items() if not name.startswith("self.")}


def _is_dropout_class(function: ast.expr, scope: dict[str, object]) -> bool:
    """Whether an expression names a class of a dropout layer, such as ``nn.Dropout``."""
    if not _DROPS.search(_last(function)):
        return False
    return inspect.isclass(_look_up(function, scope))


def _look_up(name: ast.expr, scope: dict[str, object]) -> object:
    """Return the value of a global name, or of an attribute of a Python module; None otherwise."""
    if isinstance(name, ast.Name):
        return scope.get(name.id)
    found = _look_up(name.value, scope) if isinstance(name, ast.Attribute) else None
    return getattr(found, _last(name), None) if inspect.ismodule(found) else None


def _attends_with_dropout(call: ast.Call) -> bool:
    return "attention" in _last(call.func).lower() and any(
        keyword.arg in _ATTENTION_RATES
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.keywords
    )


def _variables(nodes: Iterable[ast.AST]) -> dict[str, set[str]]:
    """Return the attributes of ``self`` that each local variable depends on."""
    meaning: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    # As an entry of a list, because the value itself may be such a call.
                    attributes = _attributes(ast.List([node.value], ast.Load()), meaning)
                    meaning.setdefault(target.id, set()).update(attributes)
    return meaning


def _attributes(node: ast.AST, meaning: Mapping[str, set[str]]) -> set[str]:
    """Return the attributes of ``self`` in an expression, also through local variables.

    ``self.config.dropout`` gives both ``config`` and ``config.dropout``.
    """
    found: set[str] = set()
    for part in _parts(node):
        if isinstance(part, ast.Attribute) and _own(part):
            found.add(part.attr)
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Attribute):
            if _own(part.value):
                found.add(f"{part.value.attr}.{part.attr}")
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            found |= {f"{name}.{part.attr}" for name in meaning.get(part.value.id, ())}
        elif isinstance(part, ast.Name):
            found |= meaning.get(part.id, set())
    return found


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the parts of an expression, without calls such as ``self.drop(x)`` and their arguments.

    Such a call returns units, which do not become a rate. If the expression itself is a call of a
    function, the arguments are its parts.
    """
    yield node
    for part in ast.iter_child_nodes(node):
        if not (isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)):
            yield from _parts(part)


def _own(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"


def _reads_training(statement: ast.AST) -> bool:
    """Whether a statement is simple and reads ``.training``, or is an ``if`` on it."""
    if isinstance(statement, ast.If):
        return _reads_training(ast.Expr(statement.test))
    return (
        isinstance(statement, ast.stmt)
        and not hasattr(statement, "body")
        and any(
            isinstance(node, ast.Attribute)
            and node.attr == "training"
            and isinstance(node.ctx, ast.Load)
            for node in ast.walk(statement)
        )
    )


def _words_in(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                names.add(name)
    return names
