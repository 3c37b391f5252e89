"""Find modules that a model never calls, from the source code of its classes."""

import inspect
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from dropkit._drops import is_scripted
from dropkit._held import find_held, own_attributes, walk
from dropkit._source import OF_A_STEP, is_library
from dropkit._uses import Uses, closures_of, find_uses

_CONTAINERS = nn.ModuleList | nn.ModuleDict
_CALLED_BY_ENTERING = {"forward", "__call__"}  # calling a module runs these methods of its class


def find_uncalled(model: nn.Module, *, forward_only: bool) -> dict[str, str]:
    """Return the modules that are never called, with the reason.

    Examples are a module that no code mentions, and a module whose weight is read without a call of
    the module. If in doubt, a module counts as called.

    Args:
        model: any module.
        forward_only: whether to start from ``forward`` only; otherwise from all methods of all
            modules.
    """
    reach = _Reach(model, forward_only)
    reach.follow()
    found = {}
    for name, module in model.named_modules():
        if module not in reach.called:
            found[name] = reach.explain(name, module)
    return found


class _Reach:
    """The modules and functions that are called, starting from the forward pass of the model."""

    def __init__(self, model: nn.Module, forward_only: bool) -> None:
        self._model = model
        self._names = {module: name for name, module in model.named_modules()}
        self._parents: dict[nn.Module, list[tuple[nn.Module, str]]] = defaultdict(list)
        for parent in model.modules():
            for name, child in parent._modules.items():
                if child is not None:
                    self._parents[child].append((parent, name))
        self._methods: dict[str, list[tuple[type, FunctionType]]] = defaultdict(list)
        self._kinds = {type(module) for module in model.modules()}
        for kind in self._kinds:
            for name, base, function in _methods(kind):
                self._methods[name].append((base, function))
        self._aliases: dict[nn.Module, dict[nn.Module, set[str]]] = {}
        self.called: set[nn.Module] = {model}
        self._reached: dict[FunctionType, type | None] = {}
        self._of_base: dict[type | None, list[Uses]] = defaultdict(list)
        self._others: set[str] = set()
        self._reads: dict[str, set[str]] = defaultdict(set)
        self._unknown: set[type | None] = set()
        if not forward_only:
            for name in self._methods.keys() - _CALLED_BY_ENTERING:
                self._reach_methods(name)
        for name in self._methods:
            if name.endswith(OF_A_STEP):
                self._reach_methods(name)

    def follow(self) -> None:
        """Add the callees of called modules, until nothing is new."""
        self._enter(self._model)
        for module in self._model.modules():
            for entry in chain.from_iterable(walk(value) for _, value in own_attributes(module)):
                if isinstance(entry, MethodType) and isinstance(entry.__self__, nn.Module):
                    self._reach_methods(entry.__name__)
            for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()):
                if not isinstance(hook, MethodType):
                    self._enter_all(_find_callable(hook))
        before = -1
        while before != (before := len(self.called) + len(self._reached)):
            for module, pairs in self._parents.items():
                if module not in self.called and any(self._calls(p, n) for p, n in pairs):
                    self.called.add(module)
                    self._enter(module)

    def _enter_all(self, modules: Iterator[nn.Module]) -> None:
        for module in modules:
            self.called.add(module)
            self._enter(module)

    def explain(self, name: str, module: nn.Module) -> str:
        """Return the reason why a module counts as never called."""
        for parent, attribute in self._parents[module]:
            if parent not in self.called and self._names[parent]:
                return f"is in {self._names[parent]}, which is not called"
            if isinstance(parent, nn.MultiheadAttention):
                return "is not called: attention reads its weights"
            read = set(self._reads[attribute])
            for base in type(parent).__mro__:
                for uses in self._of_base[base]:
                    read |= uses.own_reads.get(attribute, set())
            kind = type(parent).__name__
            if "forward" in read:
                return f"is not called: {kind} calls its forward directly, which skips hooks"
            if found := sorted(read & {*module._parameters, *module._buffers}):
                return f"is not called: {kind} reads its {' and '.join(found)}"
        return "is not called in forward"

    def _enter(self, module: nn.Module) -> None:
        for name in ("forward", "__call__"):
            found = _first_method(type(module), name)
            if found is not None:
                self._reach(*found)

    def _reach_methods(self, name: str) -> None:
        for base, function in self._methods.get(name, ()):
            self._reach(function, base)

    def _reach(self, function: FunctionType, base: type | None) -> None:
        if function in self._reached:
            return
        self._reached[function] = base
        uses = find_uses(function, base is not None)
        if uses is None:
            self._unknown.add(base)
            return
        self._of_base[base].append(uses)
        self._others |= uses.others
        self._others |= {name for holder, name in uses.held if self._may_hold(base, holder, name)}
        for name, read in uses.reads.items():
            self._reads[name] |= read
        for carried in closures_of(function):
            self._reach(carried, base)
        for listed in uses.functions:
            self._reach(listed, None)
        for name in uses.supers:
            for other, inherited in self._methods.get(name, ()):
                if any({base, other} <= {*kind.__mro__} for kind in self._kinds):
                    self._reach(inherited, other)
        for name in uses.names - _CALLED_BY_ENTERING:
            self._reach_methods(name)
            found = function.__globals__.get(name)
            found = inspect.unwrap(found) if callable(found) else None
            if isinstance(found, FunctionType) and not is_library(found.__module__):
                self._reach(found, None)

    def _may_hold(self, base: type | None, holder: str, name: str) -> bool:
        """Whether ``self.holder.name`` may be a module; it is none if it is a number or text."""
        kinds = [module for module in self._model.modules() if base in type(module).__mro__]
        owners = [vars(module).get(holder) for module in kinds]
        return any(o is None or not isinstance(_get(o, name), int | float | str) for o in owners)

    def _calls(self, parent: nn.Module, name: str) -> bool:
        """Whether a module may call the child with this name, as far as known so far."""
        if isinstance(parent, nn.MultiheadAttention) and name == "out_proj":
            return False
        live = parent in self.called
        known = _is_plain(parent) or is_scripted(parent) or "forward" in vars(parent)
        # A module without a forward pass may call its children in other methods.
        if known and (live or _forward_base(parent) is not nn.Module):
            return live
        bases: list[Any] = [*type(parent).__mro__]
        if live and self._unknown.intersection(bases):
            return True
        if name in self._others or (isinstance(parent, _CONTAINERS) and live):
            return True
        uses = [found for base in bases for found in self._of_base[base]]
        if parent not in self._aliases:
            self._aliases[parent] = _find_aliases(parent)
        aliases = self._aliases[parent][parent.get_submodule(name)]
        return any(
            name in found.own or aliases & (found.own | found.own_reads.keys()) for found in uses
        ) or (live and any(found.hides or _calls_library(bases, found.supers) for found in uses))


def _get(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except Exception:  # a property may raise any error
        return None


def _is_plain(module: nn.Module) -> bool:
    """Whether the forward pass is that of a torch or dropkit class, which calls all children."""
    return is_library(_forward_base(module).__module__)


def _forward_base(module: nn.Module) -> type:
    """Return the class that defines the forward pass; ``nn.Module`` if no class does."""
    return next((b for b in type(module).__mro__ if "forward" in vars(b)), nn.Module)


def _find_aliases(parent: nn.Module) -> dict[nn.Module, set[str]]:
    """Return the attributes that hold modules in another way than as children, such as a list."""
    found: dict[nn.Module, set[str]] = defaultdict(set)
    for attribute, value in own_attributes(parent):
        for module in _find_callable(value):
            found[module].add(attribute)
    return found


def _find_callable(value: Any) -> Iterator[nn.Module]:
    """Yield the modules that a value holds, and their children that a function names."""
    for module in find_held(value):
        yield module
        for name in value.__code__.co_names if isinstance(value, FunctionType) else ():
            child = module._modules.get(name)
            if child is not None:
                yield child


def _calls_library(bases: list[type], supers: set[str]) -> bool:
    """Whether ``super()`` calls a method of a torch class, which may call all children."""
    known = (base for base in bases if is_library(base.__module__) and base is not nn.Module)
    return any(name in vars(base) for base in known for name in supers)


def _methods(kind: type) -> Iterator[tuple[str, type, FunctionType]]:
    for base in kind.__mro__:
        if is_library(base.__module__):
            continue
        for name, value in vars(base).items():
            found = value.fget if isinstance(value, property) else value
            found = getattr(found, "__func__", found)  # for class and static methods
            if name != "__init__" and inspect.isfunction(found):
                yield name, base, inspect.unwrap(found)


def _first_method(kind: type, name: str) -> tuple[FunctionType, type] | None:
    return next(((function, base) for n, base, function in _methods(kind) if n == name), None)
