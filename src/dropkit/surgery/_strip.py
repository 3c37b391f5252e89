"""Remove dropout from a model."""

from functools import partial

from torch import nn

from dropkit._copying import copy_model
from dropkit._drops import Rate, is_classic
from dropkit.surgery._exchange import exchange, put_back, why_not_exchange
from dropkit.surgery._layer import new_layer
from dropkit.surgery._places import (
    bound_layers,
    dropout_layers,
    find_unrated,
    number_rates,
    settable_rates,
)
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import Selection, is_number_selected, selected


def strip(
    model: nn.Module, *, which: Selection | None = None, copy: bool = True
) -> tuple[nn.Module, Report]:
    """Remove dropout: layers become ``nn.Identity``, rates inside other modules become 0.

    Args:
        model: any module, including a dropout layer itself.
        which: selects the dropout layers, and the modules with a rate inside, such as ``nn.LSTM``:
            one type or several, a pattern of dotted names, or a function of (name, module); all by
            default. A pattern may also match the name of a rate, ``"lstm.dropout"``.
        copy: whether to change a deep copy; otherwise ``model`` itself changes.

    Returns:
        The model and the `Report`. A layer stays, with rate 0, if its parent module needs the
        layer. Examples are the noise layer inside a wrapper such as ``DropConnect``, and a layer
        from which the parent reads ``p``.
        ``report.left`` lists noise that is not the identity in evaluation (``Zoneout``), and calls
        of functions such as ``F.dropout(x, 0.5)``. The hooks of a layer move to its replacement.

    Raises:
        ValueError: if the model has no dropout that can be removed.

    >>> net, report = strip(nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.3), nn.Dropout(0.5)))
    >>> net[1], net[0].dropout, report.changed
    (Identity(), 0.0, ('1', '0.dropout'))
    """
    model = copy_model(model) if copy else model
    places = selected(model, which)
    left: dict[str, str] = {}
    make = {}
    numbers: dict[str, Rate] = {
        name: rate
        for name, rate in number_rates(model).items()
        if is_number_selected(which, name, rate.module, places) and rate.get() > 0
    }
    bound = bound_layers(model)
    classic = {c for module in model.modules() if is_classic(module) for c in module.children()}
    settable = {rate.module: (name, rate) for name, rate in settable_rates(model).items()}
    for name, layer in dropout_layers(model):
        if name not in places:
            continue
        if layer in classic:
            left[name] = bound[layer]
        elif layer in bound and layer in settable:
            number, rate = settable[layer]
            if rate.get() > 0:
                numbers[number] = rate
        elif layer in bound:
            left[name] = f"{bound[layer]}, and its rate cannot be set"
        elif reason := why_not_exchange(layer):
            left[name] = reason
        else:
            make[layer] = partial(new_layer, nn.Identity, layer, model)
    left |= {name: why for name, why in find_unrated(model).items() if name in places}
    if not make and not numbers:
        raise ValueError(_describe_no_match(model, which, lines(left)))
    before = {name: rate.get() for name, rate in numbers.items()}
    for rate in numbers.values():
        rate.set(0.0)
    model, layers = exchange(model, make)
    back = partial(put_back, layers=layers, rates=before)
    return model, Report((*layers, *numbers), lines(left), back)


def _describe_no_match(model: nn.Module, which: Selection | None, left: tuple[str, ...]) -> str:
    within = "" if which is None else f" among {which!r}"
    reasons = "".join(f"; {line}" for line in left)
    return (
        f"{type(model).__name__} must hold a dropout layer or a dropout rate above 0, but it "
        f"has none{within}{reasons}; there is nothing to remove"
    )
