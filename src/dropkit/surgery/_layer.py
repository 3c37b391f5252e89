"""Create the new layer for a place in a model."""

from collections.abc import Callable
from copy import deepcopy

from torch import nn

Layer = nn.Module | Callable[[], nn.Module]


def new_layer(layer: Layer, place: nn.Module, model: nn.Module) -> nn.Module:
    """Return a new layer with the mode of ``place`` and the device and dtype of the model."""
    made = layer() if callable(layer) and not isinstance(layer, nn.Module) else deepcopy(layer)
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"layer must be a module or a function that makes one, got {type(made).__name__}"
        )
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is not None and any(True for _ in (*made.parameters(), *made.buffers())):
        made.to(like.device, like.dtype)
    return made.train(place.training)
