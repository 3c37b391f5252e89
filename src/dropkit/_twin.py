"""Copy a model's modules but not its tensors, so that new modes and hooks only affect the copy."""

from collections import OrderedDict
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

#: Wrappers that always call the original model, even in a copy.
_BOUND = {"OptimizedModule", "DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}
#: Attributes of every module that hold no code of a call.
_OF_ALL_MODULES = vars(nn.Module()).keys() - {"_forward_hooks", "_forward_pre_hooks"}


def share(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Return a mapping from each module of ``model`` to a copy that shares its tensors.

    If an attribute of a module, or a list or dictionary in it, contains modules or their methods,
    the copy's attribute contains their copies instead. If a call of a copy changes attributes, the
    original does not change.

    Raises:
        TypeError: a module cannot be copied in this way: it is one of ``torch.jit``, or one of its
            attributes or hooks is a function that calls modules of ``model`` from its closure.
    """
    copies: dict[nn.Module, nn.Module] = {}
    originals = set(model.modules())
    for module in originals:
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(f"{type(module).__name__} keeps its state outside of Python")
        for name, value in vars(module).items():
            if name not in _OF_ALL_MODULES and _captures(value, originals):
                raise TypeError(f"{name} of {type(module).__name__} is a closure over modules")
    for module in model.modules():
        copies[module] = object.__new__(type(module))
    for module, copy in copies.items():
        seen: dict[int, Any] = {}
        for name, value in vars(module).items():
            copy.__dict__[name] = _replace_modules(value, copies, seen)
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


def _captures(value: Any, modules: set[nn.Module], depth: int = 3) -> bool:
    """Whether a value is or contains a function whose closure holds one of the modules."""
    if depth == 0:
        return False
    if isinstance(value, FunctionType):
        contents = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        held = [c.__self__ if isinstance(c, MethodType) else c for c in contents]
        if any(isinstance(content, nn.Module) and content in modules for content in held):
            return True
        inner: list[Any] = contents
    elif type(value) in (dict, OrderedDict):
        inner = [*value.values()]
    elif type(value) in (list, tuple):
        inner = [*value]
    elif isinstance(value, partial):
        inner = [value.func]
    else:
        return False
    return any(_captures(entry, modules, depth - 1) for entry in inner)


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the variable has no value yet
        return False


def _replace_modules(value: Any, copies: dict[nn.Module, nn.Module], seen: dict[int, Any]) -> Any:
    """Return a copy of the value in which modules are replaced by their copies."""
    if isinstance(value, nn.Module):
        return copies.get(value, value)
    if id(value) in seen:
        return seen[id(value)]
    if type(value) in (dict, OrderedDict):
        made = seen[id(value)] = type(value)()
        made.update((key, _replace_modules(entry, copies, seen)) for key, entry in value.items())
        return made
    if type(value) is list:
        entries = seen[id(value)] = []
        entries += [_replace_modules(entry, copies, seen) for entry in value]
        return entries
    if type(value) is tuple:
        return tuple(_replace_modules(entry, copies, seen) for entry in value)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _replace_modules(value.__self__, copies, seen))
    if type(value) is partial:
        given = [_replace_modules(entry, copies, seen) for entry in value.args]
        return partial(_replace_modules(value.func, copies, seen), *given, **value.keywords)
    return value
