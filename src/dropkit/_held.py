"""Find the modules that a value holds: in containers, functions and objects."""

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

_DEPTH = 3
_OF_ALL_MODULES = vars(nn.Module()).keys() - {"_forward_hooks", "_forward_pre_hooks"}


def own_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the attributes that may call modules.

    These are the attributes that not every module has, and the forward hooks.
    """
    return ((n, value) for n, value in vars(module).items() if n not in _OF_ALL_MODULES)


def find_held(value: Any) -> Iterator[nn.Module]:
    """Yield the modules in a value: itself, entries, the closure of a function, attributes."""
    return (entry for entry in walk(value) if isinstance(entry, nn.Module))


def walk(value: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """Yield a value, and what it holds; the content of modules is not searched."""
    yield value
    if depth > 0 and not isinstance(value, nn.Module):
        entries, depth = find_entries(value, depth)
        for entry in entries:
            yield from walk(entry, depth)


def find_entries(value: Any, depth: int) -> tuple[list[Any], int]:
    """Return what a value holds directly, and how many levels below may be searched."""
    if isinstance(value, dict):
        return [*value.values()], depth - 1
    if isinstance(value, list | tuple | set | deque):
        return [*value], depth - 1
    if isinstance(value, MethodType):
        return [value.__self__], depth - 1
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()], depth - 1
    if isinstance(value, FunctionType):
        return [content_of(cell) for cell in value.__closure__ or ()], depth - 1
    if isinstance(value, Tensor | nn.Module | type | ModuleType) or not hasattr(value, "__dict__"):
        return [], 0
    if type(value).__module__.startswith("dropkit."):  # hooks of surgery call what they are given
        return [], 0
    return [*vars(value).values()], min(depth - 1, 1)  # objects may lead to everything


def content_of(cell: CellType) -> Any:
    """Return the value of a variable in a closure; None if it has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
