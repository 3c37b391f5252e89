"""A layer that acts on the output of a module, as its child, wherever the module is called."""

from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from dropkit._graph import AFTER, is_chain


def attach(module: nn.Module, layer: nn.Module) -> None:
    """Let a layer act on whatever the module returns."""
    module.add_module(AFTER, layer)
    _call_after(module)


def carry_hooks(old: nn.Module, new: nn.Module) -> None:
    """Register the hooks of an old module on a new one as well, in their order."""
    for key, hook in old._forward_hooks.items():
        if hook is _apply_after:  # the layer itself is for hand_on
            _call_after(new)
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
    """Let what acts after an old module act after a new one too, last."""
    if AFTER not in old._modules:
        return
    layer = old.get_submodule(AFTER)
    if AFTER in new._modules:
        new._modules[AFTER] = nn.Sequential(new.get_submodule(AFTER), layer)
    else:
        attach(new, layer)


def detach(module: nn.Module) -> None:
    """Take the layer off again."""
    delattr(module, AFTER)
    for key, hook in list(module._forward_hooks.items()):
        if hook is _apply_after:
            del module._forward_hooks[key]


def _call_after(module: nn.Module) -> None:
    if not is_chain(module) and _apply_after not in module._forward_hooks.values():
        module.register_forward_hook(_apply_after)


def _apply_after(module: nn.Module, inputs: Any, output: Any) -> Any:
    return _on_first(module._modules[AFTER], output)


def _on_first(layer: Any, output: Any) -> Any:
    """Apply the layer to a tensor, or to the first entry of a tuple, to any depth."""
    if isinstance(output, PackedSequence):
        return output._replace(data=layer(output.data))
    if isinstance(output, tuple):
        return (_on_first(layer, output[0]), *output[1:])
    return layer(output)
