"""Wrap layers in a noise variant such as ``DropConnect``, or replace them by one."""

from collections.abc import Callable, Mapping
from copy import copy as shallow
from copy import deepcopy
from functools import partial
from typing import Any

from torch import nn

from dropkit._copying import copy_model
from dropkit._drops import is_dropout_layer, is_variant
from dropkit._reach import find_uncalled
from dropkit.surgery._after import hand_on, put_child
from dropkit.surgery._exchange import exchange
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import Selection, selected

_KEPT = ("_parameters", "_buffers", "_modules")  # where a module stores its content


def wrap(
    model: nn.Module,
    variant: Callable[[Any], nn.Module],
    which: Selection,
    *,
    copy: bool = True,
) -> tuple[nn.Module, Report]:
    """Wrap selected layers in a noise variant such as ``DropConnect``, or replace them by one.

    A variant that contains the layer, such as ``DropConnect``, changes the ``state_dict`` keys
    (``0.weight`` becomes ``0.layer.weight``). ``HeadDropout``, which replaces attention, keeps the
    keys. With ``copy=False`` parameters and buffers stay the same objects, so an existing optimizer
    still works. Add new parameters of the variant to the optimizer, such as the rate of
    ``ConcreteDropout``.

    Args:
        model: any module.
        variant: a function of the layer that returns its replacement: ``DropConnect``,
            ``TargetedDropout``, ``ConcreteDropout``, ``VariationalDropout`` for linear and
            convolutional layers, ``WeightDrop`` for recurrent ones, ``HeadDropout`` for attention,
            ``Standout`` for activations, ``StochasticDepth`` for branches, ``MultiSampleDropout``
            for a head, or your own; pass arguments with ``functools.partial``.
        which: selects the layers: one type or several, a pattern of dotted names, or a function of
            (name, module). If one layer is registered under several names, it is wrapped once, and
            all these names get the same variant.
        copy: whether to change a deep copy; otherwise ``model`` itself changes.

    Returns:
        The model and the `Report`. ``report.left`` lists layers that are already inside a variant,
        and layers that are never called. An example of the latter is a projection of attention,
        if attention reads the projection's weights directly.

    Raises:
        ValueError: if no layer is selected, the variant rejects a layer, or the result neither
            contains the layer nor has all its parameters.
        TypeError: if the variant does not return a module.

    >>> from dropkit.noise import DropConnect
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> net, report = wrap(net, partial(DropConnect, p=0.2), nn.Linear)
    >>> report.changed, list(net.state_dict())[0]
    (('0', '2'), '0.layer.weight')
    """
    model = copy_model(model) if copy else model
    places = selected(model, which)
    kept = _find_unwrappable(model)
    left = {name: kept[layer] for name, layer in places.items() if layer in kept}
    chosen = {layer: name for name, layer in places.items() if name not in left}
    if not chosen:
        reasons = "".join(f"; {line}" for line in lines(left))
        raise ValueError(
            f"which=... must select layers of {type(model).__name__} to wrap, but {which!r} "
            f"selects none{reasons}; their names are those of model.named_modules()"
        )
    way: dict[nn.Module, str | nn.Module] = {}
    make = {layer: partial(_wrapped, variant, layer, name, way) for layer, name in chosen.items()}
    model, layers = exchange(model, make)
    ways = {name: way[layer] for name, layer in layers.items()}
    return model, Report(tuple(layers), lines(left), partial(_unwrap, ways=ways))


def _find_unwrappable(model: nn.Module) -> dict[nn.Module, str]:
    """Return the layers that cannot be wrapped, with the reason."""
    never = find_uncalled(model, forward_only=False)
    kept = {model.get_submodule(name): reason for name, reason in never.items()}
    for parent in model.modules():
        if is_variant(parent) or is_dropout_layer(parent):
            held = f"is held by {type(parent).__name__}"
            kept |= {child: held for child in parent.children() if child not in kept}
    return kept


def _wrapped(
    variant: Callable[[Any], nn.Module],
    layer: nn.Module,
    name: str,
    way: dict[nn.Module, str | nn.Module],
) -> nn.Module:
    """Create the variant of a layer, and store in ``way`` what ``_unwrap`` needs to undo it."""
    known = set(layer.modules())
    try:
        new = variant(layer)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name or 'the model'} cannot be wrapped: {error}") from error
    if not isinstance(new, nn.Module):
        raise TypeError(f"variant must return a module, got {type(new).__name__}")
    where = next((path for path, module in new.named_modules() if module is layer), None)
    if where is None and not _stands_in(new, layer):
        raise ValueError(
            f"{name or 'the model'} cannot be wrapped: {type(new).__name__} must hold the layer, "
            "or its parameters, buffers and modules under the same names"
        )
    way[layer] = _shell(layer) if where is None else where
    for module in set(new.modules()) - known:
        module.training = layer.training
    return new


def _stands_in(new: nn.Module, layer: nn.Module) -> bool:
    return all(
        getattr(new, kind).get(name) is value
        for kind in _KEPT
        for name, value in getattr(layer, kind).items()
    )


def _shell(layer: nn.Module) -> nn.Module:
    """Return a copy of the layer without parameters, buffers and child modules."""
    shell = shallow(layer)
    for kind in _KEPT:
        setattr(shell, kind, dict.fromkeys(getattr(layer, kind)))
    return shell


def _unwrap(model: nn.Module, ways: Mapping[str, str | nn.Module]) -> nn.Module:
    """Restore the original layers, with the current values of their parameters."""
    found: dict[nn.Module, nn.Module] = {}
    for name, way in ways.items():
        present = model.get_submodule(name)
        if present not in found:
            found[present] = _layer(present, way)
        parent, _, attribute = name.rpartition(".")
        if name:
            put_child(model.get_submodule(parent), attribute, found[present])
        else:
            model = found[present]
    return model


def _layer(present: nn.Module, way: str | nn.Module) -> nn.Module:
    if isinstance(way, str):
        layer = present.get_submodule(way)
    else:
        layer = deepcopy(way)
        for kind in _KEPT:
            owned = getattr(layer, kind)
            owned.update({name: getattr(present, kind)[name] for name in owned})
        layer.training = present.training
    hand_on(present, layer)
    return layer
