"""Copy a model, also where the weights that hooks compute would keep it from being copied."""

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model, remedy: str = "pass copy=False to change the model itself") -> Model:
    """Return a deep copy of a model.

    ``weight_norm``, ``spectral_norm`` and ``prune`` of ``torch.nn.utils`` compute a weight before
    each call, which ``copy.deepcopy`` refuses to copy; here it is copied as it stands.

    Args:
        model: any module.
        remedy: what to do if it cannot be copied, for the error.

    Raises:
        ValueError: ``copy.deepcopy`` fails all the same.
    """
    try:
        return deepcopy(model, _computed_weights(model))
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} cannot be copied, because copy.deepcopy fails: {error}; "
            f"{remedy}"
        ) from error


def _computed_weights(model: nn.Module) -> dict[int, Any]:
    """Copies of the weights that hooks compute, by identity: what deepcopy takes as copied."""
    copies = {}
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
            weight = vars(module).get(name) if isinstance(name, str) else None
            if isinstance(weight, Tensor) and not weight.is_leaf:
                copies[id(weight)] = weight.detach().clone()
        # Recurrent layers keep their weights in a list too, where a computed one may be.
        for weight in vars(module).get("_flat_weights") or ():
            if isinstance(weight, Tensor) and not weight.is_leaf:
                copies.setdefault(id(weight), weight.detach().clone())
    return copies
