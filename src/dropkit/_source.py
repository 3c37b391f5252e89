"""List the methods of a module's class, and parse their source code without running it."""

import ast
import inspect
import linecache
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType

OF_A_STEP = "_step"  # as in Lightning's training_step, which may not call forward
_LIBRARIES = ("torch", "dropkit", "builtins")


def is_library(module: str) -> bool:
    """Whether a Python module belongs to torch or dropkit, whose classes are known by type."""
    return module.partition(".")[0] in _LIBRARIES


def list_own_bases(kind: type) -> list[type]:
    """Return a class and its bases, without the classes of torch and dropkit."""
    return [base for base in kind.__mro__ if not is_library(base.__module__)]


def list_functions(base: type, without: tuple[str, ...]) -> Iterator[FunctionType]:
    """Yield the functions that a class itself defines, except those named in ``without``."""
    for name, value in vars(base).items():
        function = value.fget if isinstance(value, property) else value
        if name not in without and inspect.isfunction(function):
            method = inspect.unwrap(function)
            if isinstance(method, FunctionType):
                yield method


def list_methods(kind: type) -> Iterator[FunctionType]:
    """Yield the methods of a class and its bases, except ``__init__`` and representations."""
    for base in list_own_bases(kind):
        yield from list_functions(base, ("__init__", "__repr__", "extra_repr"))


def list_methods_of_forward(kind: type) -> list[FunctionType]:
    """Return the forward pass, training steps, and all methods of the class that they use."""
    methods: dict[str, list[FunctionType]] = {}
    for base in list_own_bases(kind):
        for name, value in vars(base).items():
            function = value.fget if isinstance(value, property) else value
            if inspect.isfunction(function):
                methods.setdefault(name, []).append(inspect.unwrap(function))
    found: dict[str, list[FunctionType]] = {}
    pending = ["forward", *(name for name in methods if name.endswith(OF_A_STEP))]
    while pending:
        name = pending.pop()
        if name in methods and name not in found:
            found[name] = methods[name]
            pending += [n for method in methods[name] for n in list_names(method.__code__)]
    return [method for several in found.values() for method in several]


@cache
def find_names_read(kind: type) -> frozenset[str]:
    """Return all names in the methods of a class that may compute: used by forward, or by the mode.

    Other methods may only store or show what they read, such as a ``get_config``.
    """
    in_forward = list_methods_of_forward(kind)
    names = [(method, {*list_names(method.__code__)}) for method in list_methods(kind)]
    used = (found for method, found in names if method in in_forward or "training" in found)
    return frozenset[str]().union(*used)


def list_names(code: CodeType) -> Iterator[str]:
    """Yield the global names and attributes in the code, also in nested functions."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from list_names(constant)


def parse_function(function: FunctionType) -> ast.FunctionDef | None:
    """Return the definition of a function, or None if its source is missing."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    return _definitions(code.co_filename, len(lines)).get((code.co_name, code.co_firstlineno))


@cache
def _definitions(file: str, count: int) -> dict[tuple[str, int], ast.FunctionDef]:
    """Return the functions in a file by name and first line; parse each file only once."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return {}
    return {
        (node.name, min([node.lineno, *(line.lineno for line in node.decorator_list)])): node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
