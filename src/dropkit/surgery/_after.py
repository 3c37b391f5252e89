"""Attach a layer to a module, so that it processes the module's output at every call."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from dropkit._graph import AFTER, CallsAfter, is_chain, layer_after


def attach(module: nn.Module, layer: nn.Module) -> None:
    """Attach a layer to the output of a module."""
    module.add_module(AFTER, layer)
    _call_after(module, layer)


def has_layer_after(module: nn.Module) -> bool:
    """Whether ``attach`` added a layer to a module (a module may have its own child ``after``)."""
    return layer_after(module) is not None


def put_child(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Replace a child of a module; if ``attach`` added the child, the new one is also called."""
    parent._modules[name] = child
    held = _after_of(parent)
    if name == AFTER and held is not None:
        held.layer = child


def carry_hooks(old: nn.Module, new: nn.Module) -> None:
    """Copy all hooks of ``old`` to ``new``, its replacement, in the same order."""
    for key, hook in old._forward_hooks.items():
        held = _held_by(hook)
        if held is not None:  # hand_on attaches the layer itself
            _call_after(new, held.layer)
            continue
        new.register_forward_hook(
            hook,
            with_kwargs=key in old._forward_hooks_with_kwargs,
            always_call=key in old._forward_hooks_always_called,
        )
    for key, hook in old._forward_pre_hooks.items():
        new.register_forward_pre_hook(hook, with_kwargs=key in old._forward_pre_hooks_with_kwargs)
    for hook in old._backward_pre_hooks.values():
        new.register_full_backward_pre_hook(hook)
    for hook in old._backward_hooks.values():
        if old._is_full_backward_hook:
            new.register_full_backward_hook(hook)
        else:
            new.register_backward_hook(hook)


def hand_on(old: nn.Module, new: nn.Module) -> None:
    """Attach the layer that follows module ``old`` to module ``new``, after any layer there."""
    if not has_layer_after(old):
        return
    layer = old.get_submodule(AFTER)
    if AFTER in new._modules:
        put_child(new, AFTER, nn.Sequential(new.get_submodule(AFTER), layer))
    else:
        attach(new, layer)


def detach(module: nn.Module) -> None:
    """Remove the layer that ``attach`` added."""
    delattr(module, AFTER)
    for key, hook in list(module._forward_hooks.items()):
        if _held_by(hook) is not None:
            del module._forward_hooks[key]


class _After(CallsAfter):
    """The layer attached to a module, and the hook that calls the layer.

    The layer is a child of the module. The hook also holds the layer, because quantization replaces
    the module and keeps hooks, but not children. The next call then adds the layer as a child
    again.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def apply(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Apply the layer to the output of the module."""
        if AFTER not in module._modules:
            module.add_module(AFTER, self.layer)  # the module was replaced; keep the layer's mode
        return _on_first(module._modules[AFTER], output)


def _apply_scripted(self, input: tuple[Tensor], output: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    return self.after(output)  # type: ignore[no-any-return]


# torch.jit.script compiles this typed function instead of the hook.
_After.apply.__wrapped__ = _apply_scripted  # type: ignore[attr-defined]


def _held_by(hook: Any) -> _After | None:
    held = getattr(hook, "__self__", None)
    return held if isinstance(held, _After) else None


def _after_of(module: nn.Module) -> _After | None:
    found = map(_held_by, module._forward_hooks.values())
    return next((held for held in found if held is not None), None)


def _call_after(module: nn.Module, layer: nn.Module) -> None:
    held = _after_of(module)
    if held is not None:
        held.layer = layer
    elif not is_chain(module):
        module.register_forward_hook(_After(layer).apply)


def _on_first(layer: Any, output: Any) -> Any:
    """Apply a layer to a tensor, or to the first tensor in a nested tuple, mapping or dataclass.

    Tensors without dimensions, such as a loss, are skipped.
    """
    if isinstance(output, Tensor):
        return layer(output)
    if isinstance(output, PackedSequence):
        return output._replace(data=layer(output.data))
    entries = _entries(output)
    key = next((key for key, value in entries.items() if _holds_units(value)), None)
    if key is None:
        raise TypeError(
            f"a layer can be put after modules that return a tensor, or one in a tuple, a mapping "
            f"or a dataclass, got {type(output).__name__}"
        )
    return _with_entry(output, key, _on_first(layer, entries[key]))


def _holds_units(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.dim() > 0
    return isinstance(value, PackedSequence) or any(map(_holds_units, _entries(value).values()))


def _entries(output: Any) -> dict[Any, Any]:
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    if isinstance(output, Mapping):
        return dict(output)
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    return {}


def _with_entry(output: Any, key: Any, value: Any) -> Any:
    """Return a shallow copy of the same type with one entry replaced."""
    if isinstance(output, tuple):
        values = (*output[:key], value, *output[key + 1 :])
        make: Callable[..., Any] = getattr(output, "_make", type(output))
        return make(values)
    changed = copy(output)
    if isinstance(output, list | Mapping):
        changed[key] = value
    else:
        object.__setattr__(changed, key, value)  # also works for a frozen dataclass
    return changed
