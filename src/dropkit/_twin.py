"""Copy a model's modules but not its tensors, so that new modes and hooks only affect the copy."""

from collections import OrderedDict
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from dropkit._held import content_of, find_entries, find_held, own_attributes

#: Wrappers that always call the original model, even in a copy.
_BOUND = {"OptimizedModule", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}
#: Types of values whose copies hold other modules.
_REPLACED = (dict, OrderedDict, list, tuple, MethodType, partial)


def share(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Return a mapping from each module of ``model`` to a copy that shares its tensors.

    If an attribute of a module, or a list, dictionary or closure in it, contains modules or their
    methods, the copy's attribute contains their copies instead. If a call of a copy changes
    attributes, the original does not change.

    Raises:
        TypeError: a module cannot be copied in this way: it is one of ``torch.jit``, or one of its
            attributes or hooks is an object, or a function of torch, that holds modules.
    """
    copies: dict[nn.Module, nn.Module] = {}
    originals = set(model.modules())
    for module in originals:
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(f"{type(module).__name__} keeps its state outside of Python")
        for name, value in own_attributes(module):
            if captures(value, originals):
                raise TypeError(f"{name} of {type(module).__name__} holds modules")
    for module in model.modules():
        copies[module] = object.__new__(type(module))
    for module, copy in copies.items():
        seen: dict[int, Any] = {}
        for name, value in vars(module).items():
            copy.__dict__[name] = replace_modules(value, copies, seen)
        copy.__dict__["_compiled_call_impl"] = None  # compiled code would call the original
    return copies


def is_bound(model: nn.Module) -> bool:
    """Whether calls of a copy from ``share`` may run modules of the original.

    So it is for compiled and distributed models, and modules with a ``forward`` of their own.
    """
    for module in model.modules():
        if _BOUND & {base.__name__ for base in type(module).__mro__}:
            return True
        own = vars(module).get("forward")
        if own is not None and type(own) not in (MethodType, partial):
            return True
    return False


def captures(value: Any, modules: set[nn.Module], depth: int = 3, hidden: bool = False) -> bool:
    """Whether a value holds one of the modules where ``replace_modules`` does not replace it."""
    if isinstance(value, nn.Module):
        return hidden and value in modules
    if depth == 0:
        return False
    hidden |= type(value) not in _REPLACED and not _is_own_function(value)
    entries, depth = find_entries(value, depth)
    return any(captures(entry, modules, depth, hidden) for entry in entries)


def _is_own_function(value: Any) -> bool:
    """Whether a value is a function that torch did not make, for example by compilation."""
    if not isinstance(value, FunctionType):
        return False
    return not str(value.__globals__.get("__name__")).startswith("torch.")


def replace_modules(value: Any, copies: dict[nn.Module, nn.Module], seen: dict[int, Any]) -> Any:
    """Return a copy of the value in which modules are replaced by their copies."""
    if isinstance(value, nn.Module):
        return copies.get(value, value)
    if id(value) in seen:
        return seen[id(value)]
    if type(value) in (dict, OrderedDict):
        made = seen[id(value)] = type(value)()
        made.update((key, replace_modules(entry, copies, seen)) for key, entry in value.items())
        return made
    if type(value) is list:
        entries = seen[id(value)] = []
        entries += [replace_modules(entry, copies, seen) for entry in value]
        return entries
    if type(value) is tuple:
        return tuple(replace_modules(entry, copies, seen) for entry in value)
    if _is_own_function(value) and any(module in copies for module in find_held(value)):
        seen[id(value)] = value  # the function may be in its own closure
        made = seen[id(value)] = _replace_closure(value, copies, seen)
        return made
    if isinstance(value, MethodType):
        return MethodType(value.__func__, replace_modules(value.__self__, copies, seen))
    if type(value) is partial:
        given = [replace_modules(entry, copies, seen) for entry in value.args]
        named = {n: replace_modules(entry, copies, seen) for n, entry in value.keywords.items()}
        return partial(replace_modules(value.func, copies, seen), *given, **named)
    return value


def _replace_closure(
    function: FunctionType, copies: dict[nn.Module, nn.Module], seen: dict[int, Any]
) -> FunctionType:
    """Return a function whose closure holds the copies; other cells stay shared."""
    cells = []
    for cell in function.__closure__ or ():
        held = content_of(cell)
        changes = any(module in copies for module in find_held(held))
        cells.append(CellType(replace_modules(held, copies, seen)) if changes else cell)
    made = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(cells),
    )
    made.__kwdefaults__ = function.__kwdefaults__
    return made
