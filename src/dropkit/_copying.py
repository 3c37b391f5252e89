"""Copy a model, also one whose weights are computed by hooks, which deepcopy does not support."""

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

from dropkit._held import find_held, own_attributes
from dropkit._twin import captures, replace_modules

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model, remedy: str = "pass copy=False to change the model itself") -> Model:
    """Return a deep copy of a model.

    ``weight_norm``, ``spectral_norm`` and ``prune`` of ``torch.nn.utils`` compute a weight before
    each call. ``copy.deepcopy`` does not support computed weights; this function copies their
    current values.

    Args:
        model: any module.
        remedy: the advice in the error message if the model cannot be copied.

    Raises:
        ValueError: ``copy.deepcopy`` still fails.
    """
    memo = _computed_weights(model)
    try:
        copied = deepcopy(model, memo)
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} cannot be copied, because copy.deepcopy fails: {error}; "
            f"{remedy}"
        ) from error
    kept = _rebind_closures(copied, {module: memo.get(id(module)) for module in model.modules()})
    if kept is not None:
        raise ValueError(
            f"{type(model).__name__} cannot be copied, because {kept} would call the original "
            f"modules, for example as a function that torch compiled; {remedy}"
        )
    return copied


def _rebind_closures(copied: nn.Module, copies: dict[nn.Module, Any]) -> str | None:
    """Let functions in attributes and hooks call the modules of the copy.

    ``copy.deepcopy`` keeps functions, so that their closures would call the original modules.

    Returns:
        The name of an attribute that still calls them, or None.
    """
    known = {module: copy for module, copy in copies.items() if copy is not None}
    seen: dict[int, Any] = {}
    for module in copied.modules():
        for name, value in own_attributes(module):
            if not known.keys().isdisjoint(find_held(value)):
                vars(module)[name] = replace_modules(value, known, seen)
                if captures(vars(module)[name], set(known)):
                    return f"{name} of {type(module).__name__}"
    return None


def _computed_weights(model: nn.Module) -> dict[int, Any]:
    """Copy the weights that hooks compute; the keys are ids, as in the memo of deepcopy."""
    copies = {}
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
            weight = vars(module).get(name) if isinstance(name, str) else None
            if isinstance(weight, Tensor) and not weight.is_leaf:
                copies[id(weight)] = weight.detach().clone()
        # Recurrent layers also keep their weights in a list, which may contain computed weights.
        for weight in vars(module).get("_flat_weights") or ():
            if isinstance(weight, Tensor) and not weight.is_leaf:
                copies.setdefault(id(weight), weight.detach().clone())
    return copies
