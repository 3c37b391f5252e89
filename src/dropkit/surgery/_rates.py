"""List, set and schedule the rates of a model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from torch import nn

from dropkit._copying import copy_model
from dropkit._drops import Rate
from dropkit.surgery._places import fixed_rates, layer_rates, number_rates, settable_rates
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import name_matches
from dropkit.text import nearest

Model = TypeVar("Model", bound=nn.Module)
Value = TypeVar("Value")


def rates(model: nn.Module) -> dict[str, float]:
    """Return every dropout rate in a model, by name.

    The rate of a dropout layer has the layer's name. A rate that is an attribute of another module
    has the attribute's name: ``lstm.dropout`` in ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` with two or
    more layers, and ``self_attn.dropout`` in ``nn.MultiheadAttention``. In modules of other
    packages, each float attribute in [0, 1] with a name such as ``dropout``, ``attn_drop`` or
    ``drop_prob`` is a rate if the computations of the module read it; so is one that a call passes
    to torch's dropout, as in ``F.dropout(x, self.p)``. Rates of 0 are also listed.

    Args:
        model: any module. A dropout layer itself has the name ``""``; a compiled model has the
            names of the original model.

    >>> net = nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.3), nn.Dropout(0.5))
    >>> rates(net)
    {'1': 0.5, '0.dropout': 0.3}
    """
    found = layer_rates(model) | number_rates(model)
    return {name: rate.get() for name, rate in found.items()}


def set_rates(
    model: Model, rates: float | Mapping[str, float], *, copy: bool = True
) -> tuple[Model, Report]:
    """Set all dropout rates to one value, or set rates by name.

    Args:
        model: any module, including a dropout layer itself; a compiled one with ``copy=False``.
        rates: one probability of dropping for every rate in `rates(model)`, or a mapping from names
            or name patterns to probabilities, such as ``{"*": 0.1, "encoder.*.attn*": 0.0}``. If
            several patterns match a rate, the last one wins.
        copy: whether to change a deep copy; otherwise ``model`` itself changes. Use False to change
            rates during training.

    Returns:
        The model and the `Report`. ``report.left`` lists learned rates, and constants in the code
        such as ``F.dropout(x, 0.5)``.

    Raises:
        ValueError: if a name or pattern matches no rate, or a probability lies outside [0, 1]; the
            model does not change.
        TypeError: if a probability is not a number; the model does not change.

    A model compiled by ``torch.compile`` uses a new rate of a dropkit layer at the next call,
    without recompiling. For every new rate of ``nn.Dropout`` the model recompiles, and after a few
    rates torch stops compiling it; ``replace(model)`` converts these layers to dropkit's.

    >>> net = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 4), nn.Dropout(0.5))
    >>> net, report = set_rates(net, {"*": 0.1, "2": 0.4})
    >>> net[0].p, net[2].p, report.changed
    (0.1, 0.4, ('0', '2'))
    """
    wanted = rates if isinstance(rates, Mapping) else {"*": rates}
    model = copy_model(model) if copy else model
    if not wanted:
        return model, Report(())
    chosen, left = _match(model, wanted)
    before = {name: rate.get() for name, (rate, _) in chosen.items()}
    try:
        for rate, p in chosen.values():
            rate.set(p)
    except (TypeError, ValueError):  # not a probability, or one that this noise does not support
        for name, (rate, _) in chosen.items():
            rate.set(before[name])
        raise
    return model, Report(tuple(chosen), lines(left), partial(put_rates, rates=before))


def schedule_rates(
    model: nn.Module,
    schedules: Callable[[float], float] | Mapping[str, Callable[[float], float]],
) -> Callable[[float], None]:
    """Return a function that sets a model's rates for a given training step, by schedules.

    Args:
        model: the module to train, possibly compiled; the module itself changes, not a copy.
        schedules: a function from the step to the probability of dropping, for every rate in
            `rates(model)`; or a mapping from names or name patterns to such functions.
            :mod:`dropkit.schedule` has common ones. If several patterns match a rate, the last one
            wins. Rates that match no pattern do not change.

    Returns:
        A function. Call it before each training step with the number of updates so far. After
        you replace layers of the model, call `schedule_rates` again, because the function keeps
        using the old layers.

    Raises:
        TypeError: if a schedule is not a function.
        ValueError: if a name or pattern matches no rate.

    >>> from dropkit.noise import Dropout
    >>> from dropkit.schedule import constant, linear
    >>> net = nn.Sequential(Dropout(0.2), nn.Linear(4, 4), Dropout(0.5))
    >>> set_step = schedule_rates(net, {"0": constant(0.1), "2": linear(0.0, 0.5, steps=100)})
    >>> set_step(50)
    >>> rates(net)
    {'0': 0.1, '2': 0.25}
    """
    if not isinstance(schedules, Mapping):
        schedules = {"*": schedules}
    for name, schedule in schedules.items():
        if not callable(schedule):
            raise TypeError(
                f"{name!r} must have a function from the step to a rate, got {schedule!r}; "
                "constant(p) of dropkit.schedule is one"
            )
    chosen, _ = _match(model, schedules)

    def set_step(step: float) -> None:
        for rate, schedule in chosen.values():
            rate.set(schedule(step))

    return set_step


def put_rates(model: Model, rates: Mapping[str, float]) -> Model:
    """Set the rates with exactly these names, in the model itself."""
    found = settable_rates(model)
    for name, p in rates.items():
        found[name].set(p)
    return model


def _match(
    model: nn.Module, wanted: Mapping[str, Value]
) -> tuple[dict[str, tuple[Rate, Value]], dict[str, str]]:
    """Return the new value of every matching rate, and the matches that cannot be set."""
    found, fixed = settable_rates(model), fixed_rates(model)
    chosen: dict[str, Value] = {}
    left: dict[str, str] = {}
    for pattern, value in wanted.items():
        fitting = [name for name in (*found, *fixed) if name_matches(pattern, name)]
        if not fitting:
            raise ValueError(_nothing_fits(model, pattern, [*found, *fixed]))
        chosen |= {name: value for name in fitting if name in found}
        left |= {name: fixed[name] for name in fitting if name in fixed}
    if not chosen:
        reasons = "; ".join(lines(left))
        raise ValueError(f"a rate must be settable in {type(model).__name__}, got {reasons}")
    return {name: (found[name], chosen[name]) for name in found if name in chosen}, left


def _nothing_fits(model: nn.Module, pattern: str, names: list[str]) -> str:
    kind = type(model).__name__
    if not names:
        return f"{kind} must hold a dropout rate, but it has none; add layers with insert"
    return f"{pattern!r} must fit a rate of {kind}, but fits none; {nearest(pattern, names)}"
