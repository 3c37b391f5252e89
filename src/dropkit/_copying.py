"""Copy a model, also one whose weights are computed by hooks, which deepcopy does not support."""

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

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
    try:
        return deepcopy(model, _computed_weights(model))
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} cannot be copied, because copy.deepcopy fails: {error}; "
            f"{remedy}"
        ) from error


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
