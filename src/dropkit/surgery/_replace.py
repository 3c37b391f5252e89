"""Replace dropout layers by another layer."""

from functools import partial
from typing import Any

from torch import nn

from dropkit import noise
from dropkit._copying import copy_model
from dropkit._reach import find_uncalled
from dropkit.surgery._exchange import exchange, put_back, why_not_exchange
from dropkit.surgery._layer import Layer, new_layer
from dropkit.surgery._places import (
    bound_layers,
    dropout_layers,
    find_unrated,
    foreign_layers,
    number_rates,
)
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import Selection, is_number_selected, selected

_TWINS: dict[type[nn.Module], Any] = {
    nn.Dropout: noise.Dropout,
    nn.Dropout1d: noise.Dropout1d,
    nn.Dropout2d: partial(noise.Dropout2d, batched=True),
    nn.Dropout3d: partial(noise.Dropout3d, allow_any_dims=True),
    nn.AlphaDropout: noise.AlphaDropout,
    nn.FeatureAlphaDropout: noise.FeatureAlphaDropout,
}


def replace(
    model: nn.Module,
    layer: Layer | None = None,
    *,
    which: Selection | None = None,
    copy: bool = True,
) -> tuple[nn.Module, Report]:
    """Replace the dropout layers of torch and dropkit by another layer.

    Args:
        model: any module, including a dropout layer itself.
        layer: a module, which is copied for each place, or a function that creates one. If
            one layer is registered under several names, it is replaced once, and all these names
            get the same new layer. By default each dropout layer of torch becomes the dropkit layer
            of the same kind and rate.
        which: selects the dropout layers to replace: one type or several, a pattern of dotted
            names, or a function of (name, module); all by default. Layers of other packages are
            only replaced if they are selected here, have a rate, and have a class name that looks
            like dropout.
        copy: whether to change a deep copy; otherwise ``model`` itself changes.

    Returns:
        The model and the `Report`. ``report.left`` lists what cannot be replaced: ``Zoneout`` and
        ``WordDropout``; the noise layer inside a wrapper such as ``DropConnect``; a layer from
        which its parent module reads ``p``; rates that are numbers inside ``nn.LSTM``,
        ``nn.MultiheadAttention`` and similar modules; calls such as ``F.dropout``; and, without
        ``layer``, subclasses of torch's layers with their own forward pass. The hooks of a layer
        move to its replacement.

    Raises:
        ValueError: if no dropout layer matches.

    >>> from dropkit.noise import GaussianDropout
    >>> net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    >>> replace(net, GaussianDropout(0.2))[0][1], replace(net)[0][1]
    (GaussianDropout(p=0.2), Dropout(p=0.5))
    """
    model = copy_model(model) if copy else model
    places = selected(model, which)
    foreign = {m: n for n, m in foreign_layers(model).items()}
    left = {}
    make = {}
    bound = bound_layers(model)
    uncalled = find_uncalled(model, forward_only=False)
    for name, old in dropout_layers(model):
        if name not in places or (layer is None and isinstance(old, noise.Noise)):
            continue
        if old in bound:
            left[name] = bound[old]
        elif name in uncalled:
            left[name] = uncalled[name]
        elif isinstance(old, noise.WordDropout):
            left[name] = "WordDropout drops tokens, not units"
        elif reason := why_not_exchange(old):
            left[name] = reason
        elif (new := _twin(old) if layer is None else layer) is None:
            left[name] = f"{type(old).__name__} has its own forward pass; pass a layer"
        else:
            make[old] = partial(new_layer, new, old, model)
    for old, name in foreign.items():
        if name in places and which is not None and layer is not None:
            make[old] = partial(new_layer, layer, old, model)
        elif name in places:
            left[name] = f"{type(old).__name__} is of another package; select it, and pass a layer"
    for name, rate in number_rates(model).items():
        if (
            is_number_selected(which, name, rate.module, places)
            and rate.module not in foreign
            and rate.get() > 0
        ):
            left[name] = f"{rate.get():g} is a number inside {type(rate.owner).__name__}"
    left |= {name: why for name, why in find_unrated(model).items() if name in places}
    if not make:
        raise ValueError(_describe_no_match(model, layer, which, lines(left)))
    model, layers = exchange(model, make)
    return model, Report(tuple(layers), lines(left), partial(put_back, layers=layers, rates={}))


def _twin(old: Any) -> Layer | None:
    """Return a function that creates dropkit's layer of the same kind; None if there is none."""
    for kind, twin in _TWINS.items():
        if type(old).forward is kind.forward and "forward" not in vars(old):
            return partial(twin, old.p)
    return None


def _describe_no_match(
    model: nn.Module, layer: Layer | None, which: Selection | None, left: tuple[str, ...]
) -> str:
    kind = "dropout layer" if layer is not None else "dropout layer of torch"
    within = "" if which is None else f" among {which!r}"
    reasons = "".join(f"; {line}" for line in left)
    return (
        f"{type(model).__name__} must hold a {kind} that can be replaced, but it has none"
        f"{within}{reasons}; add layers with insert"
    )
