"""Find the dropout layers of a model that can be thinned, and the reasons for all others."""

from collections import defaultdict
from itertools import combinations
from typing import Any

import torch.nn.functional as F
from torch import nn

from dropkit._drops import is_dropout_layer
from dropkit._graph import layer_after, options
from dropkit.noise import HeadDropout
from dropkit.thinned import _layers as layers
from dropkit.thinned._calls import Calls, Found, Place

_OPTIONS = 4  # at most so many optional arguments, so that up to 2⁴ passes are traced


def find(model: nn.Module, groups: int) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the places to thin, and the reasons not to thin, both by name of the dropout layer.

    A layer that is thinned on one side only has an entry in both mappings. ``_heads.find`` handles
    ``HeadDropout``.
    """
    heads = {module.drop for module in model.modules() if isinstance(module, HeadDropout)}
    dropouts = {
        module: name
        for name, module in model.named_modules()
        if is_dropout_layer(module) and module not in heads
    }
    places: dict[str, Place] = {}
    left: dict[str, str] = {}
    inside = _transformers(model)
    calls = _passes(model, groups)
    for dropout, name in dropouts.items():
        found: Place | None
        if dropout in inside:
            found, reason = inside[dropout]
            if found is not None and not isinstance(calls, str):
                outside = [names for each in calls if (names := each.find_outside_calls(found))]
                if outside:
                    found, reason = None, f"{outside[0]} is called outside of its layer too"
        elif isinstance(calls, str):
            found, reason = None, calls
        else:
            (found, reason), *others = (each.place(dropout) for each in calls)
            if any(other != (found, reason) for other in others):
                found, reason = None, "the layers around it depend on an optional argument"
        if found is not None:
            places[name] = found
        if reason:
            left[name] = reason
    if not isinstance(calls, str):
        left |= {name: why for each in calls for name, why in each.functions().items()}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.dropout:
            rest = "" if isinstance(module, HeadDropout) else ", no whole heads"
            left[name] = f"drops single attention weights{rest}"
    return places, left


def _passes(model: nn.Module, groups: int) -> "list[Calls] | str":
    """Trace a pass for each combination of optional arguments, or return why that fails."""
    names = options(model)
    if len(names) > _OPTIONS:
        return (
            f"the forward pass of {type(model).__name__} must have at most {_OPTIONS} optional "
            f"arguments to be followed with and without each, got {len(names)}"
        )
    try:
        return [
            Calls(model, groups, without)
            for number in range(len(names) + 1)
            for without in combinations(names, number)
        ]
    except ValueError as error:
        return str(error) + (" nor on optional arguments" if names else "")


def _transformers(model: nn.Module) -> dict[nn.Module, Found]:
    """Find dropout in torch's transformer layers, where only the feed-forward block is thinned."""
    found: dict[nn.Module, Found] = {}
    holders: dict[nn.Module | None, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        for child in module._modules.values():
            holders[child].append(name or "the model")
    for block in model.modules():
        kind = type(block)
        if kind not in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer):
            continue
        parts: Any = block
        for layer in (parts.dropout1, parts.dropout2, getattr(parts, "dropout3", None)):
            if layer is not None:
                found[layer] = None, f"in a {kind.__name__} its units go into a residual sum"
        activation = parts.activation
        kept = (parts.linear1, parts.dropout, parts.linear2)
        watched = (*kept, activation) if isinstance(activation, nn.Module) else kept
        reasons = [why for layer in watched if (why := layers.why_not(layer))]
        reasons += [
            f"its {type(layer).__name__} is shared by {' and '.join(holders[layer])}"
            for layer in kept
            if len(holders[layer]) > 1
        ]
        if vars(block).keys() & {"forward", "_ff_block"}:
            reasons.append(f"the {kind.__name__} has its own forward pass")
        if any(layer_after(layer) is not None for layer in watched):
            reasons.append("a layer was put after one of its parts")
        if layers.dropped_dims(parts.dropout) != 0:
            reasons.append(f"{type(parts.dropout).__name__} does not drop single units")
        if any(layers.product_dims(layer) is None for layer in (parts.linear1, parts.linear2)):
            reasons.append("its neighbours are not ordinary linear layers")
        if activation not in (F.relu, F.gelu) and type(activation) not in (nn.ReLU, nn.GELU):
            reasons.append(f"the activation {activation} is not known to act on single units")
        place = Place(
            parts.dropout, 0, parts.linear2.in_features, parts.linear1, (), ((parts.linear2, 1),)
        )
        found[parts.dropout] = (None, "; ".join(reasons)) if reasons else (place, "")
    return found
