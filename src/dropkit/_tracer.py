"""Trace a forward pass symbolically, without affecting other threads.

While ``torch.fx`` traces, it replaces ``nn.Module.__call__`` and the functions of ``math`` in the
whole process, which breaks models in other threads. This tracer instead uses a private copy of the
model; the modules of the copy record their calls.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

from torch import Tensor, fx, nn
from torch.fx import _symbolic_trace
from torch.utils._pytree import tree_leaves

_HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


class LocalTracer(fx.Tracer):
    """Trace copies from ``share``; as in torch.fx, ``is_leaf_module`` selects single steps.

    Args:
        wrapped: Python modules, in addition to ``math``, whose functions are recorded if they are
            called with symbols.
    """

    def __init__(self, *wrapped: ModuleType) -> None:
        self._wrapped = (math, *wrapped)
        super().__init__(autowrap_modules=self._wrapped)  # type: ignore[arg-type]

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """Return the graph of a model's calls. Pass a copy, because tracing changes its modules."""
        self.root = root
        self.root_module_name = root._get_name()
        self.submodule_paths = {module: name for name, module in root.named_modules()}
        self.graph = fx.Graph(tracer_cls=type(self))
        self.tensor_attrs = {
            value: f"{path}.{name}" if path else name
            for path, module in root.named_modules()
            for name, value in vars(module).items()
            if isinstance(value, Tensor)
        }
        with self._recording():
            forward, args = self.create_args_for_root(
                self._with_symbols(type(root).forward), True, concrete_args
            )
            self.create_node("output", "output", (self.create_arg(forward(*args)),), {})
        self.submodule_paths = None
        return self.graph

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """Make all modules except the root record their calls, and all modules their parameters."""
        before = [(module, dict(vars(module))) for module in self.root.modules()]
        symbols: dict[str, fx.Proxy] = {}
        try:
            for module, own in before:
                vars(module)["_parameters"] = _Parameters(own["_parameters"], self, symbols)
                if module is not self.root:
                    kept = {name: own[name] for name in (*_HOOKS, "forward") if name in own}
                    vars(module).update({name: OrderedDict() for name in _HOOKS})
                    vars(module)["forward"] = partial(self._call, module, kept)
            yield
        finally:
            for module, own in before:
                for name in ("_parameters", *_HOOKS):
                    vars(module)[name] = own[name]
                vars(module).pop("forward", None)
                if "forward" in own:
                    vars(module)["forward"] = own["forward"]

    def _call(self, module: nn.Module, kept: dict[str, Any], /, *args: Any, **kwargs: Any) -> Any:
        """Record a call of a module; restore its hooks and its forward pass during the call."""
        recording = {name: vars(module)[name] for name in (*_HOOKS, "forward")}

        def run(*args: Any, **kwargs: Any) -> Any:
            return module(*args, **kwargs)

        own = MethodType(self._with_symbols(type(module).forward), module)
        vars(module).update({"forward": own, **kept})
        try:
            return self.call_module(module, run, args, kwargs)
        finally:
            vars(module).update(recording)

    def _with_symbols(self, function: Any) -> Any:
        """Return a forward pass in which untraceable functions are replaced by recording ones."""
        if not isinstance(function, FunctionType):
            return function
        given = function.__globals__
        found = {
            name: self._recorder(name, given)
            for name in _names(function.__code__)
            if name in given and self._is_wrapped(name, given)
        }
        if not found:
            return function
        made = FunctionType(
            function.__code__,
            given | found,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        made.__kwdefaults__ = function.__kwdefaults__
        return made

    def _is_wrapped(self, name: str, given: dict[str, Any]) -> bool:
        wrapped = getattr(_symbolic_trace, "_wrapped_fns_to_patch", {})  # from torch.fx.wrap
        value = given[name]
        return (
            (id(given), name) in wrapped
            or id(value) in self._autowrap_function_ids
            or any(value is module for module in self._wrapped)
        )

    def _recorder(self, name: str, given: dict[str, Any]) -> Any:
        value = given[name]
        if not isinstance(value, ModuleType):
            return _make_step(value)
        public = {n: f for n, f in vars(value).items() if not n.startswith("_")}
        return SimpleNamespace(
            **{n: _make_step(f) if callable(f) else f for n, f in public.items()}
        )


class _Parameters(dict[str, Any]):
    """The parameters of a module; reading one returns a symbol."""

    def __init__(
        self, own: dict[str, Any], tracer: fx.Tracer, symbols: dict[str, fx.Proxy]
    ) -> None:
        super().__init__(own)
        self._tracer, self._symbols = tracer, symbols

    def __getitem__(self, name: str) -> Any:
        return self._tracer.getattr(name, super().__getitem__(name), self._symbols)


def _names(code: CodeType) -> set[str]:
    """Return the global names that a function and its inner functions may read."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _make_step(function: Any) -> Any:
    """Wrap a function so that a call with a symbol is recorded as a single step."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, fx.Proxy):
                return leaf.tracer.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    return call
