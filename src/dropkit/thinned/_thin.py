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
        thinned: dropout layers whose dropped units are not computed, by name, and in which layers.
        left: dropout layers that are not thinned on one or both sides, each with the reason.
        saved: the fraction of the multiplications of a training step, forward and backward, that
            each linear or convolutional layer and attention saves, with the current rates and
            enough rows.
    """

    thinned: tuple[str, ...]
    left: tuple[str, ...]
    saved: Mapping[str, float] = field(hash=False)

    def undo(self, model: Model, *, copy: bool = True) -> Model:
        """Restore ordinary dropout, and return the model.

        Args:
            model: the result of ``thin``, a copy of it, or a module that contains it; parameters do
                not change.
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
    units of a dropout layer. They are random among the units that were kept least often so far, so
    that successive masks compensate for each other. Let K be the kept indices. For the product that
    produces the units, ``a = W x + b``, and the one that consumes them, ``z = V h + c``, only these
    parts are computed:

    ``a_K = W[K, :] x + b[K]``, ``z = (n/k) · V[:, K] h_K + c``,

    and so does the backward pass: the gradients are those of the dense net under this mask, zero
    for what was dropped. Evaluation is that of the dense net.

    Thinned are ``nn.Dropout``, ``nn.Dropout1d``–``3d`` and ours of these names between a linear or
    convolutional layer, then functions that act on each unit alone, pooling and batch
    normalization, and the next such layer; in the feed-forward block of torch's transformer layers;
    and ``HeadDropout``, whose units are heads: it computes the rows of its projections, the
    attention and the columns of ``out_proj`` that belong to the kept ones, unless it is asked for
    attention weights. Where only one of the two products qualifies, the other sees all units. What
    cannot be shown to give the same gradients keeps ordinary dropout, and so does a pass with too
    few rows in a group, positions counted, for the smaller products to pay for cutting the weights:
    the plan says how many it takes.

    Args:
        model: a module whose forward pass can be followed without running it, or which holds
            torch's transformer layers or ``HeadDropout``.
        groups: sub-networks in a mini-batch, whose rows are split along the first dimension (for
            heads along that of the sequences); at most one for each row. More of them make the
            gradient less noisy and the products smaller.
        copy: work on a deep copy, whose optimizer is made afterwards; otherwise on ``model``
            itself, whose optimizer stays valid.

    Returns:
        The model, with the same types of modules, parameters and ``state_dict`` keys, and the
        :class:`Plan`. Rates may change at any time. Other changes of its modules come before.

    Raises:
        ValueError: if there is no place to thin (the reasons are given), or groups is below 1.

    >>> net = nn.Sequential(
    ...     nn.Dropout(0.2), nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)
    ... )
    >>> net, plan = thin(net)
    >>> plan.thinned
    ('0: 1 consumes 16 of 20 units, from 240 rows on',
     '3: 1 makes and 4 consumes 32 of 64 units, from 96 rows on')
    >>> plan.left
    ('0: its units come from the input',)
    >>> plan.saved
    {'1': 0.6, '4': 0.5}

    Reference: Graham, Reizenstein & Robinson, "Efficient batchwise dropout training using
    submatrices" (2015). Deviations from dropout: rows of a group, all their positions included,
    share a mask; the number kept is fixed, and the factor n/k; successive masks are not
    independent, but balanced; batch normalization leaves the running statistics of dropped channels
    as they are.
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
            f"{type(model).__name__} must have a dropout layer between a linear or convolutional "
            "layer and what follows it, or before one, or HeadDropout, but there is none that can "
            "be thinned" + "".join(f"; {reason}" for reason in reasons)
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
        units.shared = True  # what makes the heads, and what reads them
        heads[layer] = Heads(layer, units)
        thinned.append(f"{name}: {names[layer] or 'the model'} computes {_share(units, 'heads')}")
    forwards: dict[nn.Module, Product | Drop | Norm | Heads]
    forwards = {**norms, **drops, **products, **heads}
    for module, forward in forwards.items():
        # On the instance, so that its type, its hooks and its parameters stay what they are.
        module.forward = forward
    saved = {names[module]: product.saved for module, product in products.items()}
    saved |= {names[module]: some.saved for module, some in heads.items()}
    return model, Plan(tuple(thinned), reasons, saved)


def _sides(place: Place, names: Mapping[nn.Module, str]) -> str:
    makes = f"{names[place.producer]} makes" if place.producer is not None else ""
    uses = ", ".join(names[consumer] for consumer, _ in place.consumers)
    return " and ".join(side for side in (makes, uses and f"{uses} consumes") if side)


def _share(units: Units, what: str = "units") -> str:
    rows = units.rows(next(units.first.parameters()), units.groups)
    if rows is None:
        return f"all {units.size} {what}, at this rate"
    return f"{units.count} of {units.size} {what}, from {rows} rows on"
