"""Pass the inputs of a batch to the parameters of a model's ``forward`` by name."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.study.inputs import LENGTHS, AnyRows, Inputs, shape_of
from dropkit.study.shapes import describe_shape, join_words

ROLES = ("mask", "attention_mask", "lengths")
"""The names of parameters that receive the lengths or the mask of sequences."""


@dataclass(frozen=True)
class _Place:
    """What a parameter of ``forward`` receives: an input, or the lengths or mask of that input."""

    parameter: str
    input: str
    role: str = ""


class Fed(nn.Module):
    """Wrap a model so that it can be called with a batch of several inputs or of sequences.

    Every input goes to the parameter of its name; a single input goes to the first parameter.
    Sequences are padded with zeros. If the model takes lengths or a mask, sequences are padded to
    the longest sequence of the batch. Otherwise they are padded to the longest in all data, so that
    no prediction depends on other rows.
    """

    def __init__(self, model: nn.Module, rows: Inputs) -> None:
        super().__init__()
        self.model = model
        self._places = _find_places(model, rows)
        measured = {place.input for place in self._places if place.role}
        self._widths = {
            name: rows.shape[name][0] for name in rows.sequences if name not in measured
        }
        self._is_lone = len(rows.shape) == 1

    def forward(self, batch: Inputs) -> Any:
        batch = batch.padded()
        given = {place.parameter: self._take(place, batch) for place in self._places}
        first = [given.pop(self._places[0].parameter)] if self._is_lone else []
        return self.model(*first, **given)

    def _take(self, place: _Place, batch: Inputs) -> Tensor:
        values: Tensor = batch.parts[place.input]
        if place.role == "lengths":
            lengths: Tensor = batch.parts[place.input + LENGTHS]
            return lengths
        if place.role:
            mask = mask_steps(batch, place.input)
            return mask.long() if place.role == "attention_mask" else mask
        if place.input not in self._widths:
            return values
        missing = self._widths[place.input] - values.shape[1]
        return F.pad(values, (0, 0) * (values.ndim - 2) + (0, missing))


class OnFloats(nn.Module):
    """Apply layers separately to every input of floats, and keep padding at 0."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, batch: Inputs) -> Inputs:
        batch = batch.padded()
        parts = dict(batch.items())
        for name, values in batch.items():
            if values.is_floating_point():
                parts[name] = self.layers(values)
                if name in batch.sequences:
                    mask = mask_steps(batch, name)
                    mask = mask.reshape(mask.shape + (1,) * (values.ndim - 2))
                    parts[name] = parts[name].masked_fill(~mask, 0)
        return Inputs(parts)


def mask_steps(batch: Inputs, name: str) -> Tensor:
    """Return a mask of shape (rows, places) that is true for steps and false for padding."""
    lengths: Tensor = batch.parts[name + LENGTHS]
    places = torch.arange(batch.parts[name].shape[1], device=lengths.device)
    return places < lengths[:, None]


def feed(model: nn.Module, rows: AnyRows) -> nn.Module:
    """Return a module that takes a batch of such rows: the model itself if rows are one tensor.

    Raises:
        StudyError: ``forward`` has no parameter for an input, or needs an input that is missing.
    """
    if isinstance(rows, Inputs):
        return Fed(model, rows)
    needed = [name for name, parameter in _parameters(model).items() if _is_needed(parameter)]
    if len(needed) > 1:
        raise StudyError(_explain_lack(model, needed, rows))
    return model


def _find_places(model: nn.Module, rows: Inputs) -> tuple[_Place, ...]:
    names, parameters = list(rows.shape), _parameters(model)
    takes_any = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    places = [_Place(name, name) for name in names if name in named or takes_any]
    if len(names) == 1:
        positional = [
            n for n, p in parameters.items() if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
        ]
        places = [_Place(n, names[0]) for n in positional[:1]] or places
    for name in rows.sequences:
        alone = ROLES if len(rows.sequences) == 1 else ()
        asked = {role: role for role in alone} | {f"{name}_{role}": role for role in ROLES}
        places += [
            _Place(parameter, name, role)
            for parameter, role in asked.items()
            if parameter in named and parameter not in names
        ]
    taken = {place.input for place in places}
    filled = {place.parameter for place in places}
    unused = [name for name in names if name not in taken]
    needed = [n for n, p in named.items() if _is_needed(p) and n not in filled]
    if unused or needed:
        raise StudyError(_explain_mismatch(model, rows, list(named), unused, needed))
    return tuple(places)


def _explain_lack(model: nn.Module, needed: list[str], rows: AnyRows) -> str:
    """Return the message for a ``forward`` that needs more than the single array."""
    others = needed[1:]
    lack = (
        f"the forward of {type(model).__name__} takes {join_words(needed)}, and the data hold one "
        f"array with rows of shape {describe_shape(shape_of(rows))}"
    )
    default = f"or give {join_words(others)} a default in forward"
    if set(others) <= set(ROLES):
        return (
            f"{lack}; give sequences as a list of arrays, or their lengths beside them as "
            f"numpy.savez(..., X=X, lengths=lengths, y=y), {default}"
        )
    arrays = ", ".join(f"{name}=..." for name in needed)
    return (
        f"{lack}; give an array for each, as dict({arrays}) in Python or by "
        f"numpy.savez(..., {arrays}, y=y), {default}"
    )


def _explain_mismatch(
    model: nn.Module, rows: Inputs, named: Collection[str], unused: list[str], needed: list[str]
) -> str:
    """Return the message for inputs and parameters that do not match."""
    takes = f"the forward of {type(model).__name__} takes {join_words(named) or 'nothing'}"
    says = f"{takes}, and the data hold {describe_shape(rows.shape)}"
    if not unused and set(needed) <= set(ROLES):
        if rows.sequences:
            name = rows.sequences[0]
            return (
                f"{says}, with several inputs of sequences; name the parameter after its input, as "
                f"{name}_{needed[0]}"
            )
        return (
            f"{says}, none of them sequences; give {join_words(needed)} a default in forward, or "
            "give sequences as lists of arrays or with their lengths"
        )
    if set(unused) == set(rows.shape):
        return f"{says}; give a network with forward(self, {', '.join(rows.shape)})"
    odd = [f"no parameter for {join_words(unused)}"] if unused else []
    odd += [f"no input for {join_words(needed)}"] if needed else []
    fix = "name inputs and parameters alike"
    fix += f", or leave {join_words(unused)} out" if unused else ", or give it a default"
    return f"{says}: there is {join_words(odd)}; {fix}"


def _parameters(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of ``forward``, or nothing if the parameters are unknown."""
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return {}


def _is_needed(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return not variadic and parameter.default is parameter.empty
