"""What the code of a class says about dropout: the names it reads, the functions it calls."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import CodeType, FunctionType

from torch import nn

_DROPS = re.compile(r"drop(out|_?path|_?connect|_?block)|stochastic_?depth", re.IGNORECASE)
_TOPIC = re.compile("drop|stochastic_?depth|attention", re.IGNORECASE)
_ATTENTION_RATES = {"dropout", "dropout_p", "p"}


@cache
def names_read(kind: type[nn.Module]) -> frozenset[str]:
    """Return every name that the methods of a class use, other than to set it up or show it."""
    return frozenset(name for method in _methods(kind) for name in _names(method.__code__))


@cache
def dropout_calls(kind: type[nn.Module]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the functions of dropout that a class calls, each with the attributes it passes.

    ``F.dropout(x, self.rate)`` is ``("F.dropout", {"rate"})``. A layer, ``self.dropout(x)``, is
    none; attention is one if it is given a rate other than 0.
    """
    found: dict[tuple[str, frozenset[str]], None] = {}  # an ordered set
    for method in _methods(kind):
        nodes = list(_nodes(method))
        meaning = _variables(nodes)
        for call in nodes:
            if not isinstance(call, ast.Call):
                continue
            drops = _DROPS.search(_last(call.func)) and _is_function(call.func, method.__globals__)
            if drops or _attends_with_dropout(call):
                found[ast.unparse(call.func), frozenset(_attributes(call, meaning))] = None
    return tuple(found)


@cache
def layers_read(kind: type[nn.Module]) -> frozenset[str]:
    """Return the attributes of which a class reads the rate, as in ``self.dropout.p``."""
    return frozenset(
        node.value.attr
        for method in _methods(kind)
        for node in _nodes(method)
        if isinstance(node, ast.Attribute) and node.attr == "p"
        if isinstance(node.value, ast.Attribute) and _own(node.value)
    )


def _methods(kind: type[nn.Module]) -> Iterator[FunctionType]:
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] in ("torch", "dropkit", "builtins"):
            continue
        for name, value in vars(base).items():
            if name not in ("__init__", "__repr__", "extra_repr") and inspect.isfunction(value):
                method = inspect.unwrap(value)
                if isinstance(method, FunctionType):
                    yield method


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _words(code: CodeType) -> Iterator[str]:
    """Yield the names in the code, those of keywords too."""
    yield from _names(code)
    for constant in code.co_consts:
        if isinstance(constant, tuple):
            yield from filter(lambda word: isinstance(word, str), constant)


def _nodes(method: FunctionType) -> Iterator[ast.AST]:
    """Yield the nodes of the body of a method, if it says anything of dropout."""
    if not any(_TOPIC.search(word) for word in _words(method.__code__)):
        return  # Few methods do, and parsing is slow.
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    for statement in getattr(definition, "body", ()):
        yield from ast.walk(statement)


def _last(function: ast.expr) -> str:
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _is_function(function: ast.expr, scope: dict[str, object]) -> bool:
    """Whether it is a function, or one of a module; not a method, a class or a layer."""
    root = function
    while isinstance(root, ast.Attribute):
        root = root.value
    found = scope.get(root.id) if isinstance(root, ast.Name) else None
    if root is function:
        return callable(found) and not inspect.isclass(found)
    return inspect.ismodule(found) and not _last(function)[:1].isupper()


def _attends_with_dropout(call: ast.Call) -> bool:
    return "attention" in _last(call.func).lower() and any(
        keyword.arg in _ATTENTION_RATES
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.keywords
    )


def _variables(nodes: Iterable[ast.AST]) -> dict[str, set[str]]:
    """Return the attributes that the values of local variables are made of."""
    meaning: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    attributes = _attributes(node.value, meaning)
                    meaning.setdefault(target.id, set()).update(attributes)
    return meaning


def _attributes(node: ast.AST, meaning: Mapping[str, set[str]]) -> set[str]:
    """Return the attributes of ``self`` in an expression, those behind variables too."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and _own(part):
            found.add(part.attr)
        elif isinstance(part, ast.Name):
            found |= meaning.get(part.id, set())
    return found


def _own(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id == "self"
