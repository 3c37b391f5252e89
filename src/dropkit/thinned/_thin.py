"""Define ``thin``, which leaves dropped units out of the matrix products."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from dropkit.thinned import _heads
from dropkit.thinned._calls import Place
from dropkit.thinned._forwards import Drop, Norm, Product
from dropkit.thinned._heads import Heads
from dropkit.thinned._places import find
from dropkit.thinned._units import Units

Model = TypeVar("Model", bound=nn.Module)

_FORWARDS = Product, Drop, Norm, Heads


@dataclass(frozen=True)
class Plan:
    """The result of ``thin`` for each dropout layer of a model.

    Attributes:
        thinned: names of the dropout layers whose dropped units are left out, each with the layers
            that become smaller.
        left: names of the dropout layers where the layer before, the layer after or both stay
            dense, each with the reason.
        saved: for each linear, convolutional and attention layer, the saved fraction of the
            multiplications of a training step (forward and backward), with the current rates, for a
            mini-batch with enough rows.
    """

    thinned: tuple[str, ...]
    left: tuple[str, ...]
    saved: Mapping[str, float] = field(hash=False)

    def undo(self, model: Model, *, copy: bool = True) -> Model:
        """Restore ordinary dropout, and return the model.

        Args:
            model: the result of ``thin``, a copy of the result, or a module that contains the
                result; parameters do not change.
            copy: whether to change a deep copy; otherwise ``model`` itself changes.
        """
        model = deepcopy(model) if copy else model
        for module in model.modules():
            if isinstance(module.__dict__.get("forward"), _FORWARDS):
                del module.forward
        return model


def thin(model: Model, groups: int = 1, *, copy: bool = True) -> tuple[Model, Plan]:
    """Make training steps of a network compute only the units that dropout keeps.

    In each training pass, each group of rows of the mini-batch keeps k = round((1 − p)·n) of the n
    units of a dropout layer. The kept units are chosen at random among the units that were kept
    least often so far, so that successive masks compensate for each other. Let K be the indices of
    the kept units. The layer that produces the units, ``a = W x + b``, and the layer that consumes
    them, ``z = V h + c``, only compute these parts:

    ``a_K = W[K, :] x + b[K]``, ``z = (n/k) · V[:, K] h_K + c``.

    The backward pass computes the same parts. The gradients are those of the full network under
    this mask: zero for dropped units. In evaluation the full network runs.

    These dropout layers are thinned: ``nn.Dropout``, ``nn.Dropout1d``–``3d`` and the dropkit layers
    with the same names, between two linear or convolutional layers; also in the feed-forward block
    of torch's transformer layers. Between the two layers, pointwise functions, pooling and batch
    normalization are allowed. If only one of the two layers can be thinned, the other one computes
    all units.

    ``HeadDropout`` is also thinned; there, the units are heads. The layer computes only the kept
    heads: their rows of the projections, their attention, and their columns of ``out_proj``. The
    layer computes all heads if the call asks for attention weights.

    All other dropout layers keep ordinary dropout, because thinning could give gradients that
    differ from those of the full network under the same mask. A pass also uses ordinary dropout if
    its mini-batch is so small that thinning saves no time. The returned `Plan` lists from how many
    rows on each layer is thinned. There, each time step or pixel of a sample counts as a row.

    Args:
        model: a module whose forward pass can be traced symbolically, or which contains torch's
            transformer layers or ``HeadDropout``.
        groups: the number of groups of rows in a mini-batch; each group trains its own sub-network.
            Rows are split along the first dimension, for ``HeadDropout`` along the batch dimension.
            There are never more groups than rows. More groups make the gradient less noisy and the
            matrix products smaller.
        copy: whether to change a deep copy; then create the optimizer from the copy. Otherwise
            ``model`` itself changes, and its optimizer stays valid.

    Returns:
        The model, with the same module types, parameters and ``state_dict`` keys, and the
        :class:`Plan`. You may change rates at any time. Make other changes to the modules before
        you call ``thin``.

    Raises:
        ValueError: if no dropout layer can be thinned (the message lists the reasons), or groups is
            below 1.

    >>> net = nn.Sequential(
    ...     nn.Dropout(0.2), nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)
    ... )
    >>> net, plan = thin(net)
    >>> plan.thinned
    ('0: layer 1 reads 16 of 20 units, for batches of 240 rows or more',
     '3: layer 1 computes and layer 4 reads 32 of 64 units, for batches of 96 rows or more')
    >>> plan.left
    ('0: its units come from the input',)
    >>> plan.saved
    {'1': 0.6, '4': 0.5}

    Reference: Graham, Reizenstein & Robinson, "Efficient batchwise dropout training using
    submatrices" (2015). Deviations from dropout: all rows and positions of a group share a mask;
    the number of kept units k and the factor n/k are fixed; successive masks are balanced instead
    of independent; batch normalization does not update the running statistics of dropped channels.
    """
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise ValueError(f"groups must be an integer of at least 1, got {groups!r}")
    model = deepcopy(model) if copy else model
    places, left = find(model, groups)
    attention, dense = _heads.find(model)
    left |= dense
    reasons = tuple(f"{name or 'the model'}: {reason}" for name, reason in left.items())
    if not places and not attention:
        raise ValueError(
            f"{type(model).__name__} must have HeadDropout, or a dropout layer before or after a "
            "linear or convolutional layer, but there is none that can be thinned"
            + "".join(f"; {reason}" for reason in reasons)
        )
    names = {module: name for name, module in model.named_modules()}
    products: dict[nn.Module, Product] = {}
    norms: dict[nn.Module, Norm] = {}
    drops: dict[nn.Module, Drop] = {}
    thinned = []
    for name, place in places.items():
        first = place.producer or place.consumers[0][0]
        units = Units(name, place.dropout, first, place.size, groups, len(place.consumers))
        if place.producer is not None:
            product = products.setdefault(place.producer, Product(place.producer))
            product.outer, product.norms = units, place.norms
        for consumer, repeat in place.consumers:
            product = products.setdefault(consumer, Product(consumer))
            product.inner, product.repeat = units, repeat
        for norm in place.norms:
            norms[norm] = Norm(norm, units)
        drops[place.dropout] = Drop(
            place.dropout, units, place.spatial, place.producer is not None, bool(place.consumers)
        )
    for name, place in places.items():
        units = drops[place.dropout].units
        ends = [
            products[module]
            for module in (place.producer, *(c for c, _ in place.consumers))
            if module
        ]
        units.shared = len(ends) > 1 or any(end.inner and end.outer for end in ends)
        thinned.append(f"{name or 'the model'}: {_sides(place, names)} {_share(units)}")
    heads: dict[nn.Module, Heads] = {}
    for name, layer in attention.items():
        units = Units(name, layer.drop, layer, layer.num_heads, groups)
        units.shared = True  # the projections and out_proj share the cost
        heads[layer] = Heads(layer, units)
        thinned.append(f"{name}: {_name(names[layer])} computes {_share(units, 'heads')}")
    forwards: dict[nn.Module, Product | Drop | Norm | Heads]
    forwards = {**norms, **drops, **products, **heads}
    for module, forward in forwards.items():
        # Set the forward pass on the instance, so that type, hooks and parameters of the module
        # stay.
        module.forward = forward
    saved = {names[module]: product.saved for module, product in products.items()}
    saved |= {names[module]: some.saved for module, some in heads.items()}
    return model, Plan(tuple(thinned), reasons, saved)


def _sides(place: Place, names: Mapping[nn.Module, str]) -> str:
    makes = f"{_name(names[place.producer])} computes" if place.producer is not None else ""
    readers = [_name(names[consumer]) for consumer, _ in place.consumers]
    uses = f"{', '.join(readers)} {'reads' if len(readers) == 1 else 'read'}" if readers else ""
    return " and ".join(side for side in (makes, uses) if side)


def _name(layer: str) -> str:
    """Return a layer's name for a sentence, in which a number alone would be misread."""
    return f"layer {layer}" if layer.isdigit() else layer or "the model"


def _share(units: Units, what: str = "units") -> str:
    rows = units.rows(next(units.first.parameters()), units.groups)
    if rows is None:
        return f"all {units.size} {what} at this rate"
    return f"{units.count} of {units.size} {what}, for batches of {rows} rows or more"
