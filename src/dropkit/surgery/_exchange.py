"""Replace layers everywhere in a model."""

from collections.abc import Callable, Mapping
from copy import deepcopy

from torch import nn

from dropkit._graph import AFTER
from dropkit.noise import Noise
from dropkit.surgery._after import carry_hooks, detach, hand_on, has_layer_after, put_child
from dropkit.surgery._rates import put_rates


def exchange(
    model: nn.Module, make: Mapping[nn.Module, Callable[[], nn.Module]]
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Replace each layer in ``make`` by the result of its function.

    All new layers are created before the first replacement, so an error changes nothing. Attached
    layers and hooks move to the new layer, unless the new layer contains the old one.

    Returns:
        The model (or its replacement, if ``make`` holds the model itself), and the old layers under
        all their names. A layer with several names is replaced once.
    """
    new = {layer: maker() for layer, maker in make.items()}
    old: dict[str, nn.Module] = {}
    for path, parent in list(model.named_modules()):
        # Not named_children(), which shows a shared layer under its first name only.
        for name, child in parent._modules.items():
            if child is not None and child in new:
                old[f"{path}.{name}" if path else name] = child
                put_child(parent, name, new[child])
    for layer, successor in new.items():
        if all(module is not layer for module in successor.modules()):
            carry_hooks(layer, successor)
            hand_on(layer, successor)
    if model in new:
        return new[model], {"": model, **old}
    return model, old


def put_back(
    model: nn.Module, layers: Mapping[str, nn.Module], rates: Mapping[str, float]
) -> nn.Module:
    """Undo ``exchange``: restore rates and layers; the layers get the model's current mode."""
    layers = deepcopy(dict(layers))  # together, so that shared layers stay shared
    for name, layer in layers.items():
        present = model.get_submodule(name)
        if has_layer_after(present):  # hand_on below attaches it again
            layer._modules.pop(AFTER, None)
        elif has_layer_after(layer):
            detach(layer)
        hand_on(present, layer)
        layer.train(present.training)
        parent, _, attribute = name.rpartition(".")
        if name:
            put_child(model.get_submodule(parent), attribute, layer)
        else:
            model = layer
    return put_rates(model, rates)


def why_not_exchange(layer: nn.Module) -> str | None:
    """Return why a noise layer cannot be replaced; None if it can."""
    if isinstance(layer, Noise):
        if type(layer).forward is not Noise.forward:
            return f"{type(layer).__name__} has its own forward pass, also in evaluation"
        if layer._modules.keys() - {AFTER}:
            return f"{type(layer).__name__} holds further modules"
    return None
